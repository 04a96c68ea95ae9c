import assert from 'node:assert/strict';
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { test, type TestContext } from 'node:test';
import { CHECKOUT } from '../../support/checkout.ts';
import { execlet, preloading } from './execlet.ts';

/** A process that is asked to end by signals. */
class Running {
  readonly stdout: AsyncIterator<string, undefined>;
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  readonly #stderr: Promise<string>;

  constructor(context: TestContext, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.#child = spawn(process.execPath, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    context.after(() => this.#child.kill('SIGKILL'));
    this.stdout = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    this.#stderr = text(this.#child.stderr);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** The next line of stdout. */
  async line(): Promise<string> {
    const { done, value } = await this.stdout.next();
    return done === true ? assert.fail(`it has ended: ${await this.#stderr}`) : value;
  }

  async ended(): Promise<{ exitCode: number | null; stderr: string }> {
    const stderr = await this.#stderr;
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit');
    return { exitCode: this.#child.exitCode, stderr };
  }
}

/** `execlet serve` without an Engine. */
function serve(
  context: TestContext,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Running {
  const engine = ['--docker-endpoint', 'unix:///nonexistent/docker.sock'];
  return new Running(context, [join(CHECKOUT, 'src', 'main.ts'), 'serve', '--port', '0', ...engine, ...args], env);
}

test('prints the ready line and nothing else, and waits for an Engine that does not answer', async context => {
  const daemon = serve(context);
  const ready: unknown = JSON.parse(await daemon.line());
  assert.ok(typeof ready === 'object' && ready !== null && 'port' in ready && typeof ready.port === 'number');
  assert.deepEqual(ready, { event: 'ready', address: '127.0.0.1', port: ready.port });
  const statuses = ['livez', 'readyz'].map(
    async path => (await fetch(`http://127.0.0.1:${String(ready.port)}/${path}`)).status,
  );
  assert.deepEqual(await Promise.all(statuses), [200, 503]);
  daemon.signal('SIGTERM');
  const { exitCode, stderr } = await daemon.ended();
  assert.equal(exitCode, 0, stderr);
  assert.equal((await daemon.stdout.next()).done, true);
  assert.match(stderr, /"signal":"SIGTERM"/);
});

test('SIGINT ends it with 0 as well', async context => {
  const daemon = serve(context);
  await daemon.line();
  daemon.signal('SIGINT');
  assert.equal((await daemon.ended()).exitCode, 0);
});

test('a second signal ends the process at once, with 1', async context => {
  const stopping = new Running(context, [
    '--input-type=module',
    '--eval',
    `import { stopSignal } from ${JSON.stringify(import.meta.resolve('../../../src/commands/serve.ts'))};
    setInterval(() => {}, 1000); // a stop that does not come to its end
    const asked = stopSignal();
    console.log('started');
    console.log(await asked);`,
  ]);
  assert.equal(await stopping.line(), 'started');
  stopping.signal('SIGTERM');
  assert.equal(await stopping.line(), 'SIGTERM');
  stopping.signal('SIGINT');
  assert.equal((await stopping.ended()).exitCode, 1);
});

test('an exception that nobody caught is logged, and the exit code is 1', async context => {
  const daemon = serve(context, [], preloading(`process.on('SIGUSR2', () => { throw new Error('a bug'); })`));
  await daemon.line();
  daemon.signal('SIGUSR2');
  const { exitCode, stderr } = await daemon.ended();
  assert.equal(exitCode, 1);
  assert.match(stderr, /^\{.*"error":"Error: a bug\\n.*"level":"error","message":"uncaught exception"/m);
});

test('the log can be read by people', async context => {
  const daemon = serve(context, ['--log-format', 'text', '--log-level', 'error']);
  await daemon.line();
  daemon.signal('SIGTERM');
  const { exitCode, stderr } = await daemon.ended();
  assert.equal(exitCode, 0);
  assert.match(stderr, /^\S+ ERROR engine unavailable endpoint="unix:[^\n]*\n$/);
});

test('a port in use is one line that names the port and its flag, and exit code 1', async context => {
  const taken = createServer().listen(0, '127.0.0.1');
  context.after(() => taken.close());
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  const failure = (flag: string) => ({
    exitCode: 1,
    stdout: '',
    stderr: `execlet: port ${port} on 127.0.0.1 is in use: stop what listens there, or choose another port with ${flag}\n`,
  });
  assert.deepEqual(await execlet(['serve', '--port', String(port)]), failure('--port'));
  const forMetrics = ['--metrics-bind-address', `127.0.0.1:${port}`];
  assert.deepEqual(await execlet(['serve', '--port', '0', ...forMetrics]), failure('--metrics-bind-address'));
});
