import { AppendFile, type LineResult } from '../files/append-file.ts';
import { ExecletError } from '../errors.ts';
import { CommandRedactor } from './redaction.ts';
import {
  endedLine,
  lostLine,
  refusedLine,
  startedLine,
  type RefusalFields,
  type SessionEndFields,
  type SessionFields,
} from './session-record.ts';

/** `refuse`: nothing runs that is not on record. `continue`: sessions go on, and what is missing is counted. */
export const SESSION_LOG_FAILURES = ['continue', 'refuse'] as const;
export type SessionLogFailure = (typeof SESSION_LOG_FAILURES)[number];

const MAX_QUEUED_BYTES = 4 * 1024 * 1024;
/** Anybody can be refused as often as they like: what they fill must not be what the records of sessions wait in. */
const REFUSALS_SHARE = 0.5;
/** A client waits so long for its session's start to be on record. */
const START_DEADLINE_MS = 2_000;

export interface SessionLogOptions {
  /** A path, or `-` for stdout, which also carries serve's ready line; each line has an `event`. */
  readonly target: string;
  readonly failure: SessionLogFailure;
  /** From `parseRedactPattern`. */
  readonly redact: readonly RegExp[];
  /** Called once for each record of a session or a refusal. */
  readonly onRecord: (result: LineResult) => void;
  /** The log cannot be written, or not be opened anew. Called once until `onRecovered`; the error names the target. */
  readonly onProblem: (error: Error) => void;
  readonly onRecovered: () => void;
}

/**
 * Who ran what, where, when and how it ended, and who was refused: one JSON line each (`docs/session-log.md`).
 *
 * It does not go through the daemon's log, which has levels, and loses lines at a crash. What has been written is in the
 * kernel: it outlives the daemon. It is not synced to the disk: a crash of the host may take the last seconds, and waiting for
 * the disk would cost each session more than all the rest of its start.
 */
export class SessionLog {
  readonly #options: SessionLogOptions;
  readonly #file: AppendFile;
  readonly #redactor: CommandRedactor;

  private constructor(options: SessionLogOptions, file: AppendFile) {
    this.#options = options;
    this.#file = file;
    this.#redactor = new CommandRedactor(options.redact);
  }

  /** Rejects with one line where the target cannot be opened, whatever `failure` says: that is a mistake of the configuration. */
  static async open(options: SessionLogOptions): Promise<SessionLog> {
    const { target, onProblem, onRecovered } = options;
    const named = (error: Error): Error =>
      new Error(`the session log ${target} cannot be written: ${reasonOf(error)}`, { cause: error });
    try {
      const file = await AppendFile.open({
        target,
        maxQueuedBytes: MAX_QUEUED_BYTES,
        lostLine: count => lostLine(new Date(), count),
        onProblem: error => onProblem(named(error)),
        onRecovered,
      });
      return new SessionLog(options, file);
    } catch (cause) {
      throw named(cause as Error);
    }
  }

  /**
   * To be awaited before the command is started. With `refuse` it resolves when the record has been written, and rejects with
   * RuntimeUnavailable after 2 s, or at once where it is known that it would not be; the record is taken back then, unless the
   * kernel has part of it. With `continue` it resolves at once.
   */
  async started(fields: SessionFields): Promise<void> {
    this.checkWritable();
    const { onRecord, failure } = this.#options;
    const line = startedLine(new Date(), fields, this.#redactor);
    if (failure === 'continue') {
      this.#file.append(line, onRecord);
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    const deadline = setTimeout(() => {
      takeBack();
      reject(cannotBeWritten());
    }, START_DEADLINE_MS);
    const takeBack = this.#file.append(line, result => {
      clearTimeout(deadline);
      onRecord(result);
      if (result === 'written') resolve(undefined);
      else reject(cannotBeWritten());
    });
    await promise;
  }

  /** Never waits and never throws: the session has ended, whether that is on record or not. */
  ended(fields: SessionFields & SessionEndFields): void {
    this.#file.append(endedLine(new Date(), fields), this.#options.onRecord);
  }

  /** Never waits and never throws. Dropped while half of the queue is full. */
  refused(fields: RefusalFields): void {
    this.#file.append(refusedLine(new Date(), fields), this.#options.onRecord, REFUSALS_SHARE);
  }

  /**
   * To be asked before anything is done for a session.
   *
   * @throws {ExecletError} RuntimeUnavailable with `refuse`, while the log cannot be written
   */
  checkWritable(): void {
    if (this.#options.failure === 'refuse' && this.#file.problem !== undefined) throw cannotBeWritten();
  }

  /** For SIGHUP: opens the file anew, after a rotation has renamed it. Never rejects, and takes at most 2 s. */
  reopen(): Promise<void> {
    return this.#file.reopen();
  }

  /** Writes what waits, for at most 2 s. Never rejects. */
  close(): Promise<void> {
    return this.#file.close();
  }
}

/** The client need not know where the log is, or what is wrong with it. */
function cannotBeWritten(): ExecletError {
  return new ExecletError(
    'RuntimeUnavailable',
    'the session log cannot be written at present, and this node runs nothing that is not on record',
  );
}

function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENXIO') return 'nobody reads the named pipe, or it is a socket';
  return error.message;
}
