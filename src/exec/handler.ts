import type { ExecStreams } from './connection.ts';

/** What to run: argv (never empty), whether it gets a terminal, and variables that the container's environment does not have. */
export interface ExecSpec {
  readonly command: readonly [string, ...string[]];
  readonly tty: boolean;
  /** Each `NAME=value`. */
  readonly env?: readonly string[];
}

/** How the command ended: 0–255, a death by signal as 128 + n, and where the code was learned. */
export interface ExitStatus {
  readonly exitCode: number;
  readonly source: 'event' | 'inspect';
}

/** What a handler needs of the session that it runs a command for. */
export interface SessionLife {
  /** The session's, for the log. */
  readonly id: string;
  /** Aborts with a SessionEnded as its reason when the session is being ended. */
  readonly signal: AbortSignal;
  /** Tells how far the command has come. */
  reached(state: 'created' | 'started'): void;
  /** The session is not over before this has settled, also when its client has been told of its end. It must not reject. */
  keepUntil(work: Promise<void>): void;
}

/** Runs commands in one container: the shape of CRI's Runtime.Exec. A fake for tests is one async function. */
export interface ExecHandler {
  /**
   * Runs the command to its end and resolves when all its output has been written to the streams.
   *
   * Rejects with an ExecletError, or with the signal's reason once the session's `signal` aborts; what becomes of a command that
   * still runs then is the handler's business. An exit status that cannot be learned is a rejection, never a guess.
   */
  exec(spec: ExecSpec, streams: ExecStreams, life: SessionLife): Promise<ExitStatus>;
}
