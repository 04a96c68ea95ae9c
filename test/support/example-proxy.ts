import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { stringify } from 'yaml';
import { z } from 'zod';
import type { Credentials } from './access.ts';
import { CHECKOUT } from './checkout.ts';
import { leaveToJanitor } from './cleanup.ts';

const START_TIMEOUT_MS = 20_000;
const END_TIMEOUT_MS = 10_000;

/** One exec, as the proxy has logged it at its end. */
export type ProxiedExec = z.infer<typeof execLine>;

/** `examples/apiserver-proxy` as a process of its own, on a free port of the loopback address. */
export class ExampleProxy {
  readonly url: string;
  readonly port: number;
  /** The execs that are over. */
  readonly execs: readonly ProxiedExec[];
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  private constructor(of: {
    port: number;
    execs: readonly ProxiedExec[];
    child: ChildProcess;
    exited: Promise<unknown>;
  }) {
    this.port = of.port;
    this.url = `https://127.0.0.1:${of.port}`;
    this.execs = of.execs;
    this.#child = of.child;
    this.#exited = of.exited;
  }

  /** Nodes must have a certificate of the credentials' `servers`, and know the front proxy that these issue. */
  static async start(
    credentials: Credentials,
    { nodes, tokens = [] }: { nodes: readonly { name: string; url: string }[]; tokens?: readonly string[] },
  ): Promise<ExampleProxy> {
    const [own, frontProxy] = await Promise.all([credentials.serverCertificate('proxy'), credentials.frontProxy()]);
    const config = await credentials.file(
      'proxy.yaml',
      stringify({
        port: 0,
        tlsCertFile: await credentials.file('proxy.crt', own.cert),
        tlsPrivateKeyFile: await credentials.file('proxy.key', own.key),
        clientCaFile: await credentials.file('users.crt', credentials.users.certificate),
        tokenAuthFile: await credentials.file('proxy-tokens.csv', `${tokens.join('\n')}\n`),
        proxyClientCertFile: await credentials.file('front-proxy.crt', frontProxy.cert),
        proxyClientKeyFile: await credentials.file('front-proxy.key', frontProxy.key),
        nodeCaFile: await credentials.file('servers.crt', credentials.servers.certificate),
        nodes,
      }),
    );
    const child = spawn(process.execPath, [join(CHECKOUT, 'examples/apiserver-proxy/main.ts'), '--config', config], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(child, 'close');
    if (child.pid !== undefined) void exited.then(leaveToJanitor({ kind: 'process', pid: child.pid }));
    const execs: ProxiedExec[] = [];
    const ready = Promise.withResolvers<number>();
    createInterface({ input: child.stdout }).on('line', line => {
      const parsed = logLine.parse(JSON.parse(line));
      if (parsed.event === 'ready') ready.resolve(parsed.port);
      else execs.push(parsed);
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), START_TIMEOUT_MS);
    const failed = exited.then(() => Promise.reject(new Error('the proxy ended before it was ready')));
    const port = await Promise.race([ready.promise, failed]).finally(() => clearTimeout(timer));
    failed.catch(() => undefined);
    return new ExampleProxy({ port, execs, child, exited });
  }

  /** Waits for the end of such an exec, which takes that both its connections are closed. */
  async untilEnded(which: (exec: ProxiedExec) => boolean): Promise<ProxiedExec> {
    const deadline = Date.now() + END_TIMEOUT_MS;
    for (;;) {
      const exec = this.execs.find(which);
      if (exec !== undefined) return exec;
      if (Date.now() > deadline) throw new Error('no such exec has ended');
      await delay(20);
    }
  }

  /** Stops it as a service manager would. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.#exited;
  }
}

const execLine = z.object({
  event: z.literal('exec'),
  path: z.string(),
  user: z.string().optional(),
  auditId: z.string().optional(),
  status: z.int(),
  node: z.string().optional(),
});
const logLine = z.discriminatedUnion('event', [z.object({ event: z.literal('ready'), port: z.int() }), execLine]);
