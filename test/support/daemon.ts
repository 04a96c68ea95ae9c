import { spawn, type ChildProcess } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { CHECKOUT } from './checkout.ts';
import { leaveToJanitor } from './cleanup.ts';
import { exitCodeOf } from './command.ts';
import type { Insides } from './daemon-insides.ts';
import type { TestEngine } from './engine.ts';

const START_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 45_000; // longer than the daemon's own drain
const DEFAULT_WAIT_MS = 10_000;

/** One line of the daemon's log. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly level: string; readonly message: string };

/** The line that a session ends with. */
export type SessionEndedLine = z.infer<typeof sessionEndedLine>;

export interface DaemonOptions {
  /** The Engine it serves; one that is not there will do. */
  readonly engine: Pick<TestEngine, 'dockerHost'>;
  /** Further arguments of `serve`, after the harness's own. */
  readonly args?: readonly string[];
  /** Added to our environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** What its command line begins with, to run it elsewhere; it must become the daemon and not have it as a child. */
  readonly runner?: readonly string[];
  /** Preloads what answers `insides`. */
  readonly insides?: boolean;
}

/** Several collections of garbage, on a machine that may be busy. */
const INSIDES_TIMEOUT_MS = 60_000;
const INSIDES = join(CHECKOUT, 'test', 'support', 'daemon-insides.ts');

/** Tests leave sessions open when they stop a daemon, and need not wait for them as users do. Later arguments win. */
const SHORT_PATIENCE = ['--drain-timeout', '500ms', '--kill-grace-period', '500ms'];

/** `execlet serve` as a process of its own, on a free port of the loopback address. */
export class Daemon {
  readonly port: number;
  /** Without a trailing slash. */
  readonly url: string;
  readonly pid: number;
  /** Every line it has logged so far. */
  readonly log: readonly LogLine[];
  /** The exit code, once it has ended. */
  readonly exited: Promise<number>;
  readonly #child: ChildProcess;
  readonly #output: DaemonOutput;

  private constructor(of: {
    address: string;
    port: number;
    pid: number;
    exited: Promise<number>;
    child: ChildProcess;
    output: DaemonOutput;
  }) {
    this.port = of.port;
    this.url = `http://${of.address}:${of.port}`;
    this.pid = of.pid;
    this.log = of.output.lines;
    this.exited = of.exited;
    this.#child = of.child;
    this.#output = of.output;
  }

  /** Resolves at the ready line; rejects with what the daemon said when it ends before that. */
  static async start({ engine, args = [], env = {}, runner = [], insides = false }: DaemonOptions): Promise<Daemon> {
    const [program, ...before] = [...runner, process.execPath];
    const child = spawn(
      program,
      [
        ...before,
        ...(insides ? ['--expose-gc', '--import', INSIDES] : []),
        ...[join(CHECKOUT, 'src', 'main.ts'), 'serve', '--port', '0', '--docker-endpoint', engine.dockerHost],
        ...SHORT_PATIENCE,
        ...args,
      ],
      { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe', ...(insides ? (['ipc'] as const) : [])] },
    );
    const { pid, stderr } = child;
    if (pid === undefined || stderr === null) throw new Error('the daemon could not be started');
    const forget = leaveToJanitor({ kind: 'process', pid });
    const output = new DaemonOutput();
    createInterface({ input: stderr }).on('line', line => output.add(line));
    const exited = once(child, 'close').then(() => {
      forget();
      output.end();
      return exitCodeOf(child.exitCode, child.signalCode);
    });
    const ready = await Promise.race([
      firstLine(child, START_TIMEOUT_MS),
      exited.then(exitCode => `ended with exit code ${exitCode}`),
    ]);
    const parsed = readyLine.safeParse(parseJson(ready));
    if (!parsed.success) {
      child.kill('SIGKILL');
      await exited;
      throw new Error(`the daemon did not become ready: ${ready}${output.tail()}`);
    }
    return new Daemon({ ...parsed.data, pid, exited, child, output });
  }

  /** The first line of the log, past or to come, that satisfies the predicate. */
  async waitForLog(predicate: (line: LogLine) => boolean, timeoutMs = DEFAULT_WAIT_MS): Promise<LogLine> {
    return this.#output.waitFor(lines => lines.find(predicate), timeoutMs);
  }

  /** Waits until at least that many lines of the log satisfy the predicate, and answers them. */
  async waitForLogs(predicate: (line: LogLine) => boolean, count: number, timeoutMs: number): Promise<LogLine[]> {
    return this.#output.waitFor(lines => {
      const found = lines.filter(predicate);
      return found.length >= count ? found : undefined;
    }, timeoutMs);
  }

  /** The sessions that have ended so far, oldest first. */
  sessionsEnded(): SessionEndedLine[] {
    return sessionsEndedIn(this.log);
  }

  /** Waits until at least that many sessions have ended, ever, and answers all of them. */
  async waitForSessionsEnded(count: number, timeoutMs = DEFAULT_WAIT_MS): Promise<SessionEndedLine[]> {
    return this.#output.waitFor(lines => {
      const ended = sessionsEndedIn(lines);
      return ended.length >= count ? ended : undefined;
    }, timeoutMs);
  }

  /** What it holds now, after a collection of garbage; for one that was started with `insides`. */
  async insides(): Promise<Insides> {
    const answer = once(this.#child, 'message', { signal: AbortSignal.timeout(INSIDES_TIMEOUT_MS) });
    this.#child.send('insides');
    const [insides] = (await answer) as [Insides];
    return insides;
  }

  /** All that it has written to stderr. */
  stderr(): string {
    return this.#output.text();
  }

  /** What it has written to stderr lately, for failure messages. */
  stderrTail(): string {
    return this.#output.tail();
  }

  /** Stops it as a service manager would and rejects unless it ends with that exit code; null accepts any. */
  async stop(expectedExitCode: number | null = 0): Promise<number> {
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    this.#child.kill('SIGTERM');
    const exitCode = await this.exited.finally(() => clearTimeout(timer));
    if (expectedExitCode !== null && exitCode !== expectedExitCode) {
      throw new Error(`the daemon ended with ${exitCode}, not ${expectedExitCode}${this.stderrTail()}`);
    }
    return exitCode;
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.exited;
  }
}

const readyLine = z.object({ event: z.literal('ready'), address: z.string(), port: z.int() });
const logLine = z.looseObject({ level: z.string(), message: z.string() });
const sessionEndedLine = z.looseObject({
  message: z.literal('session ended'),
  session: z.string(),
  namespace: z.string(),
  pod: z.string(),
  container: z.string(),
  transport: z.enum(['spdy', 'websocket']),
  protocol: z.string(),
  reason: z.string(),
  exitCode: z.int().optional(), // only after the reason `exit`
  durationMs: z.number(),
});

function sessionsEndedIn(lines: readonly LogLine[]): SessionEndedLine[] {
  return lines.filter(({ message }) => message === 'session ended').map(line => sessionEndedLine.parse(line));
}

/** The stderr of one daemon: the log, and whatever else a crash writes there. */
class DaemonOutput {
  readonly lines: LogLine[] = [];
  readonly #raw: string[] = [];
  #ended = false;
  readonly #changes = new EventEmitter();

  constructor() {
    this.#changes.setMaxListeners(0); // one for each test that waits
  }

  add(line: string): void {
    this.#raw.push(line);
    const parsed = logLine.safeParse(parseJson(line));
    if (parsed.success) this.lines.push(parsed.data);
    this.#changes.emit('change');
  }

  end(): void {
    this.#ended = true;
    this.#changes.emit('change');
  }

  async waitFor<T>(find: (lines: readonly LogLine[]) => T | undefined, timeoutMs: number): Promise<T> {
    const timeout = AbortSignal.timeout(timeoutMs);
    for (;;) {
      const found = find(this.lines);
      if (found !== undefined) return found;
      if (this.#ended) throw new Error(`the daemon ended without logging what was waited for${this.tail()}`);
      await once(this.#changes, 'change', { signal: timeout }).catch(() => {
        throw new Error(`the daemon did not log what was waited for within ${timeoutMs} ms${this.tail()}`);
      });
    }
  }

  text(): string {
    return this.#raw.join('\n');
  }

  tail(): string {
    return `\nthe daemon's stderr ends with:\n${this.#raw.slice(-30).join('\n')}`;
  }
}

async function firstLine(child: ChildProcess, timeoutMs: number): Promise<string> {
  if (child.stdout === null) throw new Error('the daemon has no stdout');
  const lines = createInterface({ input: child.stdout });
  const [line]: unknown[] = await once(lines, 'line', { signal: AbortSignal.timeout(timeoutMs) }).catch(() => []);
  return typeof line === 'string' ? line : `no ready line within ${timeoutMs} ms`;
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
