import { fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { leaveToJanitor } from '../../test/support/cleanup.ts';
import { CHECKOUT } from '../../test/support/checkout.ts';
import type { Job, JobResult } from './jobs.ts';

const HERE = import.meta.dirname;
/** Beyond what any of the figures wants. */
const MAX_SESSIONS = '20000';
const READY_TIMEOUT_MS = 30_000;
/** Far longer than any job takes: what hangs is to fail. */
const JOB_TIMEOUT_MS = 600_000;

/** A child that is ended with us at the latest. */
class Child {
  readonly process: ChildProcess;
  readonly #forget: () => void;

  constructor(child: ChildProcess) {
    this.process = child;
    this.#forget = leaveToJanitor({ kind: 'process', pid: this.pid });
  }

  get pid(): number {
    const { pid } = this.process;
    if (pid === undefined) throw new Error(`${this.process.spawnfile} could not be started`);
    return pid;
  }

  async firstLine(): Promise<string> {
    const { stdout } = this.process;
    if (stdout === null) throw new Error('its stdout is not ours');
    const signal = AbortSignal.timeout(READY_TIMEOUT_MS);
    const ended = once(this.process, 'exit', { signal }).then(() => ['']);
    const [line] = (await Promise.race([once(createInterface(stdout), 'line', { signal }), ended])) as [string];
    if (line === '') throw new Error(`${this.process.spawnargs.join(' ')} ended before it was ready`);
    return line;
  }

  async end(): Promise<void> {
    const { process } = this;
    if (process.exitCode === null && process.signalCode === null) {
      process.kill('SIGKILL');
      await once(process, 'exit');
    }
    this.#forget();
  }
}

/** The one that does the clients' work. */
export class ClientProcess {
  readonly #child = new Child(
    fork(join(HERE, 'client-process.ts'), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] }),
  );

  async perform(job: Job): Promise<JobResult> {
    const { process } = this.#child;
    const settled = new AbortController();
    const signal = AbortSignal.any([settled.signal, AbortSignal.timeout(JOB_TIMEOUT_MS)]);
    const answer = once(process, 'message', { signal });
    const ended = once(process, 'exit', { signal }).then(() => [{ error: 'the client has ended' }]);
    process.send(job);
    const [{ result, error }] = (await Promise.race([answer, ended])) as [{ result?: JobResult; error?: string }];
    ended.catch(() => undefined);
    settled.abort();
    if (result === undefined) throw new Error(`${job.job}: ${error ?? 'no answer'}`);
    return result;
  }

  end(): Promise<void> {
    return this.#child.end();
  }
}

/** Starts the stand-in Engine; `end` ends it. */
export async function startStandIn(socketPath: string, containers: number): Promise<{ end: () => Promise<void> }> {
  const script = join(HERE, 'stand-in-engine.ts');
  const child = new Child(
    spawn(process.execPath, [script, socketPath, String(containers)], { stdio: ['ignore', 'pipe', 'inherit'] }),
  );
  await child.firstLine();
  return child;
}

export interface DaemonOptions {
  readonly dockerHost: string;
  /** With TLS then; keeps a self-signed certificate. */
  readonly certDir?: string;
  /** As a user starts it, and not with what `collectGarbage` needs. */
  readonly bare?: boolean;
}

/** `execlet serve` as users run it: built, and on its own. */
export class DaemonProcess {
  readonly port: number;
  readonly startMs: number;
  readonly #child: Child;

  private constructor(child: Child, { port, startMs }: { port: number; startMs: number }) {
    this.#child = child;
    this.port = port;
    this.startMs = startMs;
  }

  static async start({ dockerHost, certDir, bare = false }: DaemonOptions): Promise<DaemonProcess> {
    const beganAt = performance.now();
    const child = new Child(
      spawn(
        process.execPath,
        [
          ...(bare ? [] : ['--expose-gc', '--import', join(HERE, 'collect-garbage.ts')]),
          ...[join(CHECKOUT, 'dist', 'bin.js'), 'serve', '--port', '0', '--docker-endpoint', dockerHost],
          ...(certDir === undefined ? [] : ['--cert-dir', certDir]),
          ...['--max-sessions', MAX_SESSIONS, '--max-sessions-per-container', MAX_SESSIONS],
          ...['--max-connections', MAX_SESSIONS, '--drain-timeout', '1ms'],
        ],
        { stdio: ['ignore', 'pipe', 'ignore', ...(bare ? [] : (['ipc'] as const))] },
      ),
    );
    const ready = JSON.parse(await child.firstLine()) as { port: number };
    return new DaemonProcess(child, { port: ready.port, startMs: performance.now() - beganAt });
  }

  /** What it has used so far, all its threads together, in milliseconds. */
  async cpuMs(): Promise<number> {
    const tasks = `/proc/${this.#child.pid}/task`;
    const spent = await Promise.all(
      (await readdir(tasks)).map(async task => readFile(join(tasks, task, 'schedstat'), 'utf8').catch(() => '0')),
    );
    return spent.reduce((sum, text) => sum + Number(text.split(' ')[0]), 0) / 1e6;
  }

  async rssKib(): Promise<number> {
    const status = await readFile(`/proc/${this.#child.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
  }

  async sockets(): Promise<number> {
    const fds = `/proc/${this.#child.pid}/fd`;
    const targets = await Promise.all(
      (await readdir(fds)).map(async fd => readlink(join(fds, fd)).catch(() => '')), // closed meanwhile
    );
    return targets.filter(target => target.startsWith('socket:')).length;
  }

  async collectGarbage(): Promise<void> {
    const { process } = this.#child;
    const done = once(process, 'message');
    process.send('collect');
    await done;
  }

  end(): Promise<void> {
    return this.#child.end();
  }
}
