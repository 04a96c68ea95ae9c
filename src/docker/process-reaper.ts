import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises';
import { ExecletError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { Engine, ExecState } from './engine.ts';
import { ProcessScanner } from './process-scan.ts';
import type { ProcessStat, ProcessTable } from './process-table.ts';

/** What processes are ended with, mildest first. */
export type KillSignal = 'SIGHUP' | 'SIGTERM' | 'SIGKILL';

/**
 * Why a process is left in a container: it has a session of its own; it outlives SIGKILL; we may not signal it; its pid is not seen
 * here; its Engine is on another host; the Engine does not say which one it is.
 */
const LEFT_CAUSES = ['new_session', 'survived', 'not_permitted', 'no_host_pid', 'remote_engine', 'unknown'] as const;
export type LeftCause = (typeof LEFT_CAUSES)[number];

/** Between two looks at processes that are being waited for. */
const POLL_MS = 100;
/** From the answer to exec start until the Engine knows the pid; the runtime needs some hundred milliseconds. */
const PID_KNOWN_MS = 10_000;
/** SIGKILL works at once, but for a process in an uninterruptible wait, or in a paused container. */
const AFTER_KILL_MS = 2_000;
/** Processes that fork faster than they are killed are not followed for ever. */
const MOST_KILL_ROUNDS = 50;
/** For the Engine to hand the last keys to the terminal. */
const LAST_KEYS_MS = 1_000;
/** So many processes are signalled before others have their turn. */
const SLICE = 64;
/** A shell that gets its terminal back from what ^C has ended sets it up anew, and would lose a ^D that is there already. */
const BETWEEN_KEYS_MS = 100;

const [CTRL_C, CTRL_D] = ['\x03', '\x04'];

export interface ProcessReaperOptions {
  readonly engine: Pick<Engine, 'inspectExec' | 'local'>;
  readonly processes: ProcessTable;
  /** Before each next signal. */
  readonly gracePeriodMs: number;
  /** Called for each process that a signal was sent to. */
  readonly onKilled: (signal: KillSignal) => void;
  /** Called for each process that is left, once. */
  readonly onLeft: (cause: LeftCause) => void;
  readonly log: Logger;
}

/** A command that nobody waits for any more. Its input has ended, but for a terminal. */
export interface AbandonedExec {
  /** Of the session, for the log. */
  readonly session: string;
  readonly execId: string;
  readonly containerId: string;
  readonly tty: boolean;
  /** The connection to its terminal, which takes the last keys where no signal can be sent. The reaper destroys it. */
  readonly terminal: Duplex | undefined;
}

/**
 * Ends what vanished clients left running: the Engine has no call for it, so the processes are signalled where they are seen.
 *
 * A command's are all those of the session and of the process group that it leads, in its container. They get SIGHUP (on a
 * terminal), SIGTERM after a grace period, SIGKILL after another; it is over as soon as none is left. What has made a session of
 * its own (setsid) is not followed: it may be meant to stay. Where it is seen it is counted.
 */
export class ProcessReaper {
  readonly #options: ProcessReaperOptions;
  readonly #scanner: ProcessScanner;

  constructor(options: ProcessReaperOptions) {
    this.#options = options;
    this.#scanner = new ProcessScanner(options.processes);
  }

  /**
   * Resolves when nothing of the command is left, or nothing more can be done about it: after two grace periods and some seconds at the
   * most, where the Engine answers. Never rejects.
   */
  async terminate(exec: AbandonedExec): Promise<void> {
    const { log, onLeft } = this.#options;
    const { session, execId, terminal } = exec;
    const of = { session, exec: execId };
    const startedAt = performance.now();
    terminal?.resume(); // a terminal that is full would keep its command from ending
    const termination = new Termination(exec, this.#options, this.#scanner);
    try {
      await termination.run();
    } catch (cause) {
      termination.left.push('unknown');
      log.warn('a command cannot be terminated', { ...of, error: String(cause) });
      await termination.typeLastKeys();
    } finally {
      terminal?.destroy();
    }
    for (const cause of termination.left) onLeft(cause);
    for (const cause of LEFT_CAUSES) {
      const count = termination.left.filter(other => other === cause).length;
      if (count > 0) log.warn('processes are left in a container', { ...of, cause, count });
    }
    const durationMs = Math.round(performance.now() - startedAt);
    log.info('command terminated', { ...of, signals: [...termination.signals], durationMs });
  }
}

/** The end of one command. */
class Termination {
  /** Those that were sent, in order. */
  readonly signals = new Set<KillSignal>();
  /** One cause for each process that is left. */
  readonly left: LeftCause[] = [];
  readonly #exec: AbandonedExec;
  readonly #options: ProcessReaperOptions;
  readonly #scanner: ProcessScanner;
  readonly #over = new AbortController();
  /** The command's processes, as last seen. */
  #known: readonly ProcessStat[] = [];
  /** Descendants of the command in sessions of their own. */
  readonly #escaped = new Map<string, ProcessStat>();
  /** Those that we may not signal. */
  readonly #forbidden = new Set<string>();
  /** Some end and fork faster than they are looked at: the last look has found none, and yet they are there. */
  #fleeting = false;
  /** Of the command itself; undefined where it had ended before we looked. */
  #startTime: string | undefined;
  #reused = false;

  constructor(exec: AbandonedExec, options: ProcessReaperOptions, scanner: ProcessScanner) {
    this.#exec = exec;
    this.#options = options;
    this.#scanner = scanner;
  }

  async run(): Promise<void> {
    const { engine, gracePeriodMs } = this.#options;
    const state = await this.#started();
    if (state === undefined) return;
    if (!engine.local) return this.#outOfReach('remote_engine');
    if (!(await this.#find(state))) return this.#outOfReach('no_host_pid');
    const { pid } = state;
    const gone =
      (await this.#end(pid, this.#exec.tty ? 'SIGHUP' : undefined, gracePeriodMs)) ||
      (await this.#end(pid, 'SIGTERM', gracePeriodMs)) ||
      (await this.#end(pid, 'SIGKILL', AFTER_KILL_MS));
    if (!gone) {
      for (const process of await this.#running(this.#known)) {
        this.left.push(this.#forbidden.has(nameOf(process)) ? 'not_permitted' : 'survived');
      }
      if (this.#fleeting) this.left.push('survived');
    }
    const escaped = await this.#running(this.#escaped.values());
    this.left.push(...escaped.map(() => 'new_session' as const));
  }

  /**
   * Types ^C and ^D where the terminal is still there, and closes it. Never rejects.
   *
   * The Engine ends a terminal's output when it has passed on all input and its end; so the keys have arrived when it does.
   */
  async typeLastKeys(): Promise<void> {
    const { terminal } = this.#exec;
    if (terminal === undefined || terminal.destroyed) return;
    const over = new AbortController();
    const closed = once(terminal, 'close', { signal: over.signal }).catch(() => undefined);
    terminal.write(CTRL_C);
    await delay(BETWEEN_KEYS_MS);
    terminal.end(CTRL_D);
    await Promise.race([closed, delay(LAST_KEYS_MS, undefined, { signal: over.signal })]).catch(() => undefined);
    over.abort();
    terminal.destroy();
  }

  /** The Engine's word on a command that has a pid; undefined where it never ran, or has gone with its container. */
  async #started(): Promise<ExecState | undefined> {
    const deadline = performance.now() + PID_KNOWN_MS;
    for (;;) {
      const state = await this.#inspect();
      if (state?.pid !== 0) return state;
      if (!state.running && state.exitCode !== null) return undefined;
      if (performance.now() > deadline) {
        throw new ExecletError('RuntimeUnavailable', 'the Engine does not say which process it is');
      }
      await delay(POLL_MS); // the start has been answered before the command was started
    }
  }

  /** Undefined where the Engine does not know the exec. Rejects where it does not answer, by its own deadline. */
  async #inspect(): Promise<ExecState | undefined> {
    try {
      return await this.#options.engine.inspectExec(this.#exec.execId, this.#over.signal);
    } catch (cause) {
      if (cause instanceof ExecletError && cause.code === 'HandlerNotFound') return undefined;
      throw cause;
    }
  }

  /** Whether the command is seen here, or has ended. */
  async #find({ pid, running }: ExecState): Promise<boolean> {
    const { processes } = this.#options;
    if (!running) return true; // so a process of its pid would be another
    const command = processes.stat(pid);
    if (command === undefined) {
      // It may just have ended: the Engine says so later, by 2 s or more. Then what it has left in its session is here.
      return (await this.#scanner.scan()).ledBy(pid).some(process => this.#isIn(process));
    }
    if (!command.exited && !this.#isIn(command)) return false;
    this.#startTime = command.startTime;
    return true;
  }

  /** Sends the signal, and waits. True as soon as nothing of the command is left. */
  async #end(pid: number, signal: KillSignal | undefined, patienceMs: number): Promise<boolean> {
    const deadline = performance.now() + patienceMs;
    const signalled = new Set<string>();
    for (let round = 1; ; round += 1) {
      const fresh = await this.#signalAll(pid, signal, signalled);
      if (this.#known.length === 0 && !this.#fleeting) return true;
      if (signal === 'SIGKILL' && fresh && round < MOST_KILL_ROUNDS) continue; // they may have forked meanwhile
      do {
        const leftMs = deadline - performance.now();
        if (leftMs <= 0) return false;
        await delay(Math.min(POLL_MS, leftMs)); // not unref'd: the daemon waits for this
      } while (this.#known.some(process => this.#runs(process)));
    }
  }

  /** Looks for the command's processes, and signals those that have not been. Answers whether there were any. */
  async #signalAll(pid: number, signal: KillSignal | undefined, signalled: Set<string>): Promise<boolean> {
    const snapshot = await this.#scanner.scan();
    const led = snapshot.ledBy(pid);
    const known: ProcessStat[] = [];
    const before = signalled.size;
    let vanished = led.length === 0 && this.#hasGroup(pid); // the scan has missed them all
    for (const [index, process] of led.entries()) {
      if (index % SLICE === SLICE - 1) await turn();
      if (this.#isReused(pid)) break;
      // Read again just before it is signalled: the scan is some milliseconds old.
      if (!this.#runs(process)) {
        vanished ||= !process.exited;
        continue;
      }
      if (!this.#isIn(process)) continue;
      known.push(process);
      if (signal === undefined || signalled.has(nameOf(process))) continue;
      signalled.add(nameOf(process));
      this.#send(process, signal);
    }
    this.#known = this.#reused ? [] : known;
    this.#fleeting = vanished && this.#known.length === 0 && !this.#reused;
    if (signal === 'SIGKILL' && (this.#known.length > 0 || this.#fleeting)) this.#killGroup(pid);
    const ofCommand = new Set(led);
    const escaped = await this.#running(this.#escaped.values());
    for (const [index, process] of snapshot.descendantsOf([...this.#known, ...escaped]).entries()) {
      if (index % SLICE === SLICE - 1) await turn();
      if (!ofCommand.has(process) && this.#isIn(process)) this.#escaped.set(nameOf(process), process);
    }
    if (this.#forbidden.size > 0) await this.typeLastKeys();
    this.#exec.terminal?.destroy();
    return signalled.size > before;
  }

  #send(process: ProcessStat, signal: KillSignal): void {
    try {
      this.#options.processes.kill(process.pid, signal);
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code === 'EPERM') this.#forbidden.add(nameOf(process));
      else if (code !== 'ESRCH') throw cause;
      return;
    }
    this.signals.add(signal);
    this.#options.onKilled(signal);
  }

  /**
   * Kills the group that the command leads, or has led, as a whole: what forks and ends all the time is caught by nothing else. Only
   * where the command itself was seen here; the kernel gives its pid away only when its session and group are empty.
   */
  #killGroup(pid: number): void {
    if (this.#startTime === undefined || this.#isReused(pid)) return;
    try {
      this.#options.processes.killGroup(pid, 'SIGKILL');
    } catch (cause) {
      if (!['EPERM', 'ESRCH'].includes((cause as NodeJS.ErrnoException).code ?? '')) throw cause;
      return;
    }
    this.signals.add('SIGKILL');
    if (this.#fleeting) this.#options.onKilled('SIGKILL'); // nobody knows how many
  }

  /** Whether there is a group of that number, be it of what waits for its parent to take notice. */
  #hasGroup(pid: number): boolean {
    try {
      this.#options.processes.killGroup(pid, 0);
    } catch (cause) {
      return (cause as NodeJS.ErrnoException).code === 'EPERM';
    }
    return true;
  }

  /** Whether another process has the command's pid. The kernel gives a pid away only when no session or group has it any more. */
  #isReused(pid: number): boolean {
    const startTime = this.#options.processes.stat(pid)?.startTime;
    if (this.#reused || startTime === undefined || startTime === this.#startTime) return this.#reused;
    const { session, execId } = this.#exec;
    this.#options.log.warn("another process has a command's pid: nothing is signalled", { session, exec: execId, pid });
    this.#reused = true;
    return true;
  }

  /** Those that run still: a command may have started thousands. */
  async #running(processes: Iterable<ProcessStat>): Promise<ProcessStat[]> {
    const running: ProcessStat[] = [];
    for (const [index, process] of [...processes].entries()) {
      if (index % SLICE === SLICE - 1) await turn();
      if (this.#runs(process)) running.push(process);
    }
    return running;
  }

  #runs({ pid, startTime }: ProcessStat): boolean {
    const now = this.#options.processes.stat(pid);
    return now !== undefined && !now.exited && now.startTime === startTime;
  }

  #isIn({ pid }: ProcessStat): boolean {
    return this.#options.processes.isIn(pid, this.#exec.containerId);
  }

  /** Its terminal, or the end of its input, is all that reaches the command. It is left unless it ends by that. */
  async #outOfReach(cause: LeftCause): Promise<void> {
    await this.typeLastKeys();
    const deadline = performance.now() + this.#options.gracePeriodMs;
    for (let waitMs = POLL_MS; ; waitMs *= 2) {
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) break;
      await delay(Math.min(waitMs, leftMs));
      const state = await this.#inspect();
      if (state?.running !== true) return;
    }
    this.left.push(cause);
  }
}

/** Tells a process from a later one of the same pid. */
function nameOf({ pid, startTime }: ProcessStat): string {
  return `${pid}/${startTime}`;
}
