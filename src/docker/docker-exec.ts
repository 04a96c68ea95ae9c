import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { ExecStreams, ResizeSource, TerminalSize } from '../exec/connection.ts';
import { SessionEnded, type EndReason } from '../exec/end-reason.ts';
import type { ExecHandler, ExecSpec, ExitStatus, SessionLife } from '../exec/handler.ts';
import { ExecletError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { HeldTime } from '../metrics.ts';
import { within } from '../within.ts';
import type { Engine, EngineExec, ExecState } from './engine.ts';
import type { ExecExits, ExpectedExit } from './exec-exits.ts';
import { EXEC_OVER, ExitWatch } from './exit-watch.ts';
import type { ProcessReaper } from './process-reaper.ts';
import { Relay, type DrainLimits } from './relay.ts';
import { StartFailureGuard, tellsOfContainerEnd } from './start-failure.ts';
import type { TailBudget } from './tail-budget.ts';

/** `exec_die` follows the stream's end by about half a millisecond; an inspection costs more than this wait saves. */
const EVENT_HEAD_START_MS = 50;
const INSPECT_INTERVAL_MS = 100;
/** The Engine knows that a command has ended before it ends its output; this is for one that is slow to say so. */
const RUNNING_AFTER_OUTPUT_MS = 1_000;
/**
 * The same where the exit was seen before the Engine told of it: then the Engine first waits 2 s for the rest of the output, and
 * for one command of a container after the other.
 */
const RUNNING_AFTER_EXIT_MS = 30_000;

/** Why a session ends before its command: nobody waits for that any more. */
const ABANDONS_COMMAND: readonly EndReason[] = [
  'client_gone',
  'protocol_error',
  'idle',
  'max_duration',
  'admin',
  'drain',
];

export interface DockerExecOptions {
  readonly engine: Engine;
  readonly exits: ExecExits;
  readonly containerId: string;
  readonly highWaterMarkBytes: number;
  readonly tails: TailBudget;
  readonly drain: DrainLimits;
  readonly heldBack: Readonly<Record<'input' | 'output', HeldTime>>;
  /** Ends commands whose session has ended before them; without one they run on. */
  readonly reaper: ProcessReaper | undefined;
  readonly log: Logger;
}

/** One exec that has been created, and what is needed until its end. */
interface CreatedExec {
  readonly id: string;
  readonly inEngine: EngineExec;
  readonly spec: ExecSpec;
  readonly streams: ExecStreams;
  readonly sizes: NewestSize;
  readonly exit: ExpectedExit;
  readonly life: SessionLife;
}

/**
 * Runs commands in one container through the Engine: create, start with a hijacked connection, relay, exit status.
 *
 * The Engine has no call to end an exec. When the signal aborts, its connection is dropped, so that a command without a terminal
 * that reads stdin sees its end; and the reaper ends the command's processes, while the client is told at once.
 */
export class DockerExecHandler implements ExecHandler {
  readonly #options: DockerExecOptions;

  constructor(options: DockerExecOptions) {
    this.#options = options;
  }

  async exec(spec: ExecSpec, streams: ExecStreams, life: SessionLife): Promise<ExitStatus> {
    const { signal } = life;
    signal.throwIfAborted();
    const sizes = new NewestSize(streams.resize);
    const inEngine = await this.#create(spec, streams.stdin !== undefined, signal);
    const { id } = inEngine;
    life.reached('created');
    const exit = this.#options.exits.expect(id, this.#options.containerId);
    try {
      return await this.#run({ id, inEngine, spec, streams, sizes, exit, life });
    } finally {
      exit.dispose();
    }
  }

  async #create({ command, tty, env = [] }: ExecSpec, stdin: boolean, signal: AbortSignal): Promise<EngineExec> {
    const { engine, containerId, log } = this.#options;
    const created = engine.createExec({ containerId, command, tty, stdin, env });
    // The Engine keeps an exec that is never started until its container goes, and has no call to remove one. To start it all the same
    // would be the greater evil: nobody waits for that command.
    const left = (exec: EngineExec): void => {
      exec.leave();
      log.info('an exec is left in the Engine', { exec: exec.id });
    };
    return reasoned(
      signal,
      'start',
      unlessAborted(signal, created, late => void late.then(left, () => undefined)),
    );
  }

  async #run(exec: CreatedExec): Promise<ExitStatus> {
    const { engine, containerId, highWaterMarkBytes, tails, drain, heldBack, log } = this.#options;
    const { id, inEngine, spec, streams, sizes, exit, life } = exec;
    const { signal } = life;
    const { tty } = spec;
    const started = inEngine.start({ tty, size: sizes.newest });
    const connection = await reasoned(
      signal,
      'start',
      unlessAborted(signal, started, late => life.keepUntil(this.#abandonLate(exec, late))),
    );
    life.reached('started');
    streams.started();
    const over = new AbortController(); // ends the helpers of this exec with it
    const guard = new StartFailureGuard({
      client: streams.stdout,
      onSuspicion: () => void this.#releaseIfRunning(id, guard, over.signal),
    });
    const watch = new ExitWatch({
      engine,
      execId: id,
      containerId,
      onExit: () => relay.commandExited(),
      onBlind: cause => log.warn('cannot see whether a command has exited', { exec: id, error: String(cause) }),
    });
    const relay = new Relay({
      engine: connection,
      tty,
      resetKeepsOutput: engine.local,
      streams,
      stdout: guard,
      highWaterMarkBytes,
      watch,
      tail: tails.open(),
      drain,
      held: { input: heldBack.input.open(), output: heldBack.output.open() },
      signal,
    });
    void exit.exitCode.then(() => relay.commandExited());
    try {
      sizes.follow(size => this.#resize(id, size, over.signal));
      await relay.run();
      connection.destroy();
      const patienceMs = relay.sawExit ? RUNNING_AFTER_EXIT_MS : RUNNING_AFTER_OUTPUT_MS;
      const status = await reasoned(signal, 'end', this.#exitStatus(exec, guard, patienceMs));
      if (status.source === 'inspect' && relay.mayLackTail) {
        throw new SessionEnded(
          'output_lost',
          "the end of the output may be lost: nobody saw the command's exit in time",
        );
      }
      return status;
    } catch (cause) {
      if (cause === signal.reason) life.keepUntil(this.#abandon(exec, connection));
      else connection.destroy();
      throw cause;
    } finally {
      over.abort(EXEC_OVER);
      watch.stop();
      sizes.stop();
    }
  }

  /** A start that was under way when the signal aborted: the command may run by now, or soon. */
  async #abandonLate(exec: CreatedExec, started: Promise<Socket>): Promise<void> {
    try {
      await this.#abandon(exec, await started);
    } catch (cause) {
      // The Engine has refused to start it; or it has not answered, and may have started it.
      if (ExecletError.from(cause).code === 'RuntimeUnavailable') await this.#abandon(exec, undefined);
    }
  }

  /** Ends a command that nobody waits for any more, unless it is to run on. Takes its connection, where there is one. Never rejects. */
  async #abandon(
    { id: execId, spec: { tty }, life: { id: session, signal } }: CreatedExec,
    connection: Socket | undefined,
  ): Promise<void> {
    const { containerId, reaper } = this.#options;
    const reason: unknown = signal.reason;
    const abandoned = reason instanceof SessionEnded && ABANDONS_COMMAND.includes(reason.endReason);
    const terminates = abandoned && reaper !== undefined;
    if (!terminates || !tty) connection?.destroy();
    const terminal = tty ? connection : undefined;
    if (terminates) await reaper.terminate({ session, execId, containerId, tty, terminal });
  }

  /** The event first, the inspection second. What neither knows is a failure: exit code 0 is never guessed from silence. */
  async #exitStatus(
    { id, exit, life: { signal } }: CreatedExec,
    guard: StartFailureGuard,
    patienceMs: number,
  ): Promise<ExitStatus> {
    const deadline = Date.now() + patienceMs;
    const fromEvent = exit.exitCode.then(exitCode => ({ exitCode, source: 'event' as const }));
    const awaitsEvent = !guard.suspected; // none follows a failed start
    const heard = awaitsEvent && (await unlessAborted(signal, within(EVENT_HEAD_START_MS, fromEvent), () => undefined));
    const status = await (heard ? fromEvent : this.#firstStatus(fromEvent, { id, guard, deadline, signal }));
    guard.release(); // it ran, so what it printed is its output
    return status;
  }

  /** Whichever tells first: an event that may still come, or the inspection. */
  async #firstStatus(fromEvent: Promise<ExitStatus>, inspection: Inspection): Promise<ExitStatus> {
    const { signal } = inspection;
    const stop = new AbortController();
    const aborted = (): void => stop.abort(signal.reason);
    signal.addEventListener('abort', aborted, { once: true });
    if (signal.aborted) aborted();
    try {
      return await Promise.race([fromEvent, this.#inspectedStatus({ ...inspection, signal: stop.signal })]);
    } finally {
      stop.abort(EXEC_OVER);
      signal.removeEventListener('abort', aborted);
    }
  }

  /**
   * Asks until the Engine knows the exit code. A command that goes on running after its output has ended was cut off from us
   * (by a proxy, or by detaching), so what it exits with later says nothing about what we relayed.
   */
  async #inspectedStatus({ id, guard, deadline, signal }: Inspection): Promise<ExitStatus> {
    for (;;) {
      const askedAt = Date.now();
      const state = await this.#options.engine.inspectExec(id, signal);
      if (neverStarted(state)) {
        const text = guard.text === '' ? `the command could not be started (exit code ${state.exitCode})` : guard.text;
        throw new SessionEnded(tellsOfContainerEnd(text) ? 'container_gone' : 'start_failed', text);
      }
      const { running, exitCode } = state;
      if (!running && exitCode !== null && exitCode >= 0 && exitCode <= 255) return { exitCode, source: 'inspect' };
      // By when it was asked: what a busy Engine answers late may have been true long before.
      if (askedAt > deadline) {
        const why = running ? 'the command was still running' : `the Engine knows no exit code (${exitCode ?? 'none'})`;
        throw new SessionEnded('engine_gone', `the exit status is unknown: the output has ended, but ${why}`);
      }
      await delay(INSPECT_INTERVAL_MS, undefined, { signal });
    }
  }

  async #releaseIfRunning(id: string, guard: StartFailureGuard, signal: AbortSignal): Promise<void> {
    try {
      const { pid } = await this.#options.engine.inspectExec(id, signal);
      if (pid !== 0 && !signal.aborted) guard.release();
    } catch (cause) {
      // The inspection after the stream's end decides as well.
      this.#options.log.debug('exec inspection failed', { exec: id, error: String(cause) });
    }
  }

  async #resize(id: string, size: TerminalSize, signal: AbortSignal): Promise<void> {
    try {
      await this.#options.engine.resizeExec(id, size, signal);
    } catch (cause) {
      // The command has ended meanwhile, or never started: nobody is left whose terminal could be resized.
      if (!signal.aborted) this.#options.log.debug('resize failed', { exec: id, error: String(cause) });
    }
  }
}

/** How an exec's end is asked for. */
interface Inspection {
  readonly id: string;
  readonly guard: StartFailureGuard;
  /** By the clock, for the Engine to know. */
  readonly deadline: number;
  readonly signal: AbortSignal;
}

/** Pid 0 and one of the runtime's codes: 126 or 127, by version, or 128. A program's own 126 has a pid. */
function neverStarted({ running, exitCode, pid }: ExecState): boolean {
  return !running && pid === 0 && exitCode !== null && exitCode >= 126 && exitCode <= 128;
}

/** The Engine's answer; a failure as the SessionEnded that tells the client why. */
async function reasoned<T>(signal: AbortSignal, phase: 'start' | 'end', answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (cause) {
    if (signal.aborted) throw signal.reason;
    if (cause instanceof SessionEnded) throw cause;
    const { code, message } = ExecletError.from(cause);
    if (phase === 'end') throw new SessionEnded('engine_gone', `the exit status is unknown: ${message}`, { cause });
    const paused = message.includes(' is paused'); // the Engine gives it the same code as to one that has stopped
    const gone = code === 'HandlerNotFound' || (code === 'ContainerNotRunning' && !paused);
    const reason = gone ? 'container_gone' : code === 'RuntimeUnavailable' ? 'engine_gone' : 'start_failed';
    throw new SessionEnded(reason, message, { cause });
  }
}

/** The answer, or the signal's reason as soon as it aborts; an answer that is still to come then goes to `late`. */
async function unlessAborted<T>(
  signal: AbortSignal,
  answer: Promise<T>,
  late: (answer: Promise<T>) => void,
): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  try {
    const value = await Promise.race([answer, aborted]);
    signal.throwIfAborted();
    return value;
  } catch (cause) {
    if (signal.aborted) late(answer);
    throw cause;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/**
 * The terminal's newest size, held until the exec is started: the Engine refuses or delays a resize before that.
 *
 * One resize is under way at a time, and a size that a newer one has replaced meanwhile is never sent.
 */
class NewestSize {
  newest: TerminalSize | undefined;
  #apply: ((size: TerminalSize) => Promise<void>) | undefined;
  #busy = false;

  constructor(resize: ResizeSource | undefined) {
    resize?.consume(size => {
      this.newest = size;
      void this.#send();
    });
  }

  /** From now on each size is applied, the one held first. `apply` does not reject. */
  follow(apply: (size: TerminalSize) => Promise<void>): void {
    this.#apply = apply;
    void this.#send();
  }

  stop(): void {
    this.#apply = undefined;
  }

  async #send(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    let sent: TerminalSize | undefined;
    while (this.#apply !== undefined && this.newest !== undefined && this.newest !== sent) {
      sent = this.newest;
      await this.#apply(sent);
    }
    this.#busy = false;
  }
}
