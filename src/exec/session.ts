import { ExecletError } from '../errors.ts';
import { humanDuration } from '../human-duration.ts';
import type { ExecOutcome, RemoteCommandConnection } from './connection.ts';
import type { ContainerEnd } from './container-end.ts';
import { SessionEnded, type EndReason } from './end-reason.ts';
import type { ExecSpec, ExitStatus, SessionLife } from './handler.ts';
import type { RegisteredContainer } from './handler-registry.ts';
import { RelayedBytes } from './relayed-bytes.ts';
import { SessionClock } from './session-clock.ts';
import type { SessionEndFields, SessionFields } from './session-record.ts';
import { within } from '../within.ts';

/** Between what a command in it shows of its container's end and the Engine's word of it; tens of milliseconds as a rule. */
const CONTAINER_END_MS = 500;
const KILLED = 128 + 9;

/**
 * How far a session has come. `draining`: its outcome is known, and is being delivered, or what it left in the container is being
 * ended.
 */
export type SessionState = 'admitted' | 'accepted' | 'created' | 'started' | 'draining' | 'ended';

/** What the setting up of a session takes its time for; the first two are over before there is a session. */
export type SetupPhase = 'authenticate' | 'authorize' | 'accept' | 'create' | 'start' | 'first_byte';

/** Where an exit code was learned; `unknown` where the Engine did not tell a client that waited for it. */
export type ExitSource = ExitStatus['source'] | 'unknown';

/** The command had ended, as far as anybody can tell, and its status is lost. */
const WITHOUT_STATUS: readonly EndReason[] = ['engine_gone', 'output_lost'];

/** Times in milliseconds. */
export interface SessionLimits {
  /** Without a byte of input or output. */
  readonly idleTimeoutMs: number;
  /** In all; none where it is undefined. */
  readonly maxDurationMs: number | undefined;
}

export interface SessionOptions {
  readonly fields: SessionFields;
  readonly limits: SessionLimits;
  /** A phase of the setting up is over, and took so long. */
  readonly onPhase: (phase: SetupPhase, ms: number) => void;
  /** Called exactly once, when nothing is left of the session. */
  readonly onOver: () => void;
}

/** What an accepted session is to do. */
export interface SessionWork {
  readonly container: RegisteredContainer;
  readonly spec: ExecSpec;
  readonly connection: RemoteCommandConnection;
  /** The outcome is known, and not yet told to the client. */
  readonly onOutcome: (end: SessionEndFields, outcome: ExecOutcome) => void;
}

/**
 * One exec, from its admission until nothing is left of it: the owner of its connection, its clocks and its one signal.
 *
 * Whatever ends it before its command does aborts that signal: the client's leaving, the container's end, a limit, an administrator,
 * the daemon's stop. The first of them is the reason that everybody is told.
 */
export class Session implements SessionLife {
  readonly fields: SessionFields;
  readonly admittedAt = new Date();
  readonly bytes: RelayedBytes;
  readonly #options: SessionOptions;
  readonly #ending = new AbortController();
  readonly #leftToDo: Promise<void>[] = [];
  readonly #delivered = Promise.withResolvers<undefined>();
  #state: SessionState = 'admitted';
  #phaseBeganAt = performance.now();
  #connection: RemoteCommandConnection | undefined;
  /** Where a person sits at a terminal. */
  #terminal: { write(chunk: Buffer): unknown } | undefined;
  /** For the terminal, once the command runs. */
  #notice: Buffer | undefined;
  #end: SessionEndFields | undefined;
  #exitSource: ExitSource | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.fields = options.fields;
    this.bytes = new RelayedBytes(() => this.#phase('first_byte'));
  }

  get id(): string {
    return this.fields.session;
  }

  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  get state(): SessionState {
    return this.#state;
  }

  /** How it ended, once that is known. */
  get outcome(): SessionEndFields | undefined {
    return this.#end;
  }

  /** Undefined where the command was never started, or was not waited for to its end. */
  get exitSource(): ExitSource | undefined {
    return this.#exitSource;
  }

  /** Resolves when the client has been told of the end and its connection is closed. */
  get delivered(): Promise<unknown> {
    return this.#delivered.promise;
  }

  /** Ends the session before its command does. Only the first reason counts, and none once the command has ended. */
  end(reason: SessionEnded): void {
    this.#ending.abort(reason);
  }

  /** Closes the connection of a session that has ended and waits for a client to take what is left; that is lost then. */
  abandonDelivery(): void {
    if (this.#state === 'draining') this.#connection?.destroy();
  }

  /**
   * Says something to whoever sits at the terminal, as soon as the command runs; to nobody where there is none, or the command has
   * ended.
   */
  tell(text: string): void {
    const notice = Buffer.from(`\r\n[execlet] ${text}\r\n`);
    if (this.#state === 'started') this.#terminal?.write(notice);
    else this.#notice = notice;
  }

  reached(state: 'created' | 'started'): void {
    this.#state = state;
    this.#phase(state === 'created' ? 'create' : 'start');
    if (state === 'started' && this.#notice !== undefined) this.#terminal?.write(this.#notice);
  }

  keepUntil(work: Promise<void>): void {
    this.#leftToDo.push(work);
  }

  /** It was refused after all, so it never was. */
  withdraw(): void {
    this.#over();
  }

  /** Its client did not complete the upgrade. */
  failToOpen(reason: EndReason): SessionEndFields {
    this.#end = this.#endFields(reason, undefined);
    this.#over();
    return this.#end;
  }

  /**
   * Runs the command and reports its outcome to the client, exactly once. Resolves when the connection is closed and what was left in
   * the container is dealt with; never rejects.
   */
  async run({ container, spec, connection, onOutcome }: SessionWork): Promise<void> {
    this.#state = 'accepted';
    this.#connection = connection;
    this.#phase('accept');
    if (spec.tty) this.#terminal = connection.streams.stdout;
    const { closed } = connection;
    const { gone } = container;
    const clientLeft = (): void => this.#ending.abort(closed.reason);
    closed.addEventListener('abort', clientLeft, { once: true });
    if (closed.aborted) clientLeft();
    const listenNoLonger = gone.listen(reason => this.#ending.abort(reason));
    const clocks = this.#startClocks();

    let outcome: ExecOutcome;
    try {
      const { exitCode, source } = await container.handler.exec(spec, this.bytes.counting(connection.streams), this);
      outcome = { kind: 'exited', exitCode };
      this.#exitSource = source;
    } catch (cause) {
      outcome = failure(cause);
    }
    for (const clock of clocks) clock.stop();
    if (looksLikeContainerEnd(outcome) && (await goneWithin(CONTAINER_END_MS, gone))) outcome = failure(gone.reason);
    listenNoLonger(); // the container lives on without us, perhaps for months
    if (outcome.kind === 'failed') {
      this.#exitSource = this.state === 'started' && WITHOUT_STATUS.includes(outcome.reason) ? 'unknown' : undefined;
    }
    this.#state = 'draining';
    this.#end =
      outcome.kind === 'exited'
        ? this.#endFields('exit', outcome.exitCode)
        : this.#endFields(outcome.reason, undefined);
    onOutcome(this.#end, outcome);
    await connection.finish(this.#named(outcome));
    closed.removeEventListener('abort', clientLeft);
    this.#delivered.resolve(undefined);
    await Promise.all(this.#leftToDo);
    this.#over();
  }

  #startClocks(): SessionClock[] {
    const { idleTimeoutMs, maxDurationMs } = this.#options.limits;
    const beganAt = performance.now();
    const idle = new SessionClock({
      dueAt: () => this.bytes.lastAt + idleTimeoutMs,
      lengthMs: idleTimeoutMs,
      onWarning: leftMs => this.tell(`nobody has used this session for long: it ends in ${humanDuration(leftMs)}`),
      onDue: () => this.end(new SessionEnded('idle', `the session was not used for ${humanDuration(idleTimeoutMs)}`)),
    });
    if (maxDurationMs === undefined) return [idle];
    const longest = new SessionClock({
      dueAt: () => beganAt + maxDurationMs,
      lengthMs: maxDurationMs,
      onWarning: leftMs => this.tell(`no session may last longer: this one ends in ${humanDuration(leftMs)}`),
      onDue: () =>
        this.end(
          new SessionEnded('max_duration', `the session has lasted ${humanDuration(maxDurationMs)}, the most it may`),
        ),
    });
    return [idle, longest];
  }

  #phase(phase: SetupPhase): void {
    const now = performance.now();
    this.#options.onPhase(phase, now - this.#phaseBeganAt);
    this.#phaseBeganAt = now;
  }

  #endFields(reason: EndReason, exitCode: number | undefined): SessionEndFields {
    const { stdin, stdout, stderr } = this.bytes;
    const durationMs = Date.now() - this.admittedAt.getTime();
    return { reason, exitCode, stdinBytes: stdin, stdoutBytes: stdout, stderrBytes: stderr, durationMs };
  }

  /** What the client is told of a failure names the session, by which the logs and `execlet sessions` know it. */
  #named(outcome: ExecOutcome): ExecOutcome {
    if (outcome.kind === 'exited') return outcome;
    const { error } = outcome;
    const message = `${error.message} (session ${this.id})`;
    return { ...outcome, error: new ExecletError(error.code, message, { cause: error }) };
  }

  #over(): void {
    this.#state = 'ended';
    this.#connection = undefined;
    this.#terminal = undefined;
    this.#delivered.resolve(undefined);
    this.#options.onOver();
  }
}

/**
 * A container that ends takes its commands with it, and the Engine tells of these first: as a death by SIGKILL, as an exec that
 * never started or that it does not know. Which of the two was heard first must not decide what the client is told.
 */
function looksLikeContainerEnd(outcome: ExecOutcome): boolean {
  return outcome.kind === 'exited' ? outcome.exitCode === KILLED : outcome.reason === 'engine_gone';
}

async function goneWithin(timeoutMs: number, gone: ContainerEnd): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const listenNoLonger = gone.listen(() => resolve(undefined));
  await within(timeoutMs, promise);
  listenNoLonger();
  return gone.reason !== undefined;
}

function failure(cause: unknown): ExecOutcome {
  if (cause instanceof SessionEnded) {
    return { kind: 'failed', reason: cause.endReason, error: new ExecletError('Internal', cause.message, { cause }) };
  }
  return { kind: 'failed', reason: 'engine_gone', error: ExecletError.from(cause) };
}
