import * as fs from 'node:fs';
import { promisify } from 'node:util';
import { within } from '../within.ts';

const open = promisify(fs.open);
const close = promisify(fs.close);
const stat = promisify(fs.stat);
const fstat = promisify(fs.fstat);
const fchmod = promisify(fs.fchmod);
const read = promisify(fs.read);
const write = promisify(fs.write);

/** What stands for stdout where a path is expected. */
export const STDOUT = '-';

/** How long lines may wait with nothing taken of them before the file counts as one that cannot be written. */
const STALLED_MS = 2_000;
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 5_000;
/** A full pipe has no event that we could wait for: its descriptor is no stream. */
const FULL_PIPE_RETRY_MS = 50;
const REOPEN_RETRY_MS = 1_000;
const DEADLINE_MS = 2_000;
const MAX_WRITE_BYTES = 256 * 1024;
/** The owner may read and write, the group may read. */
const WIDEST_MODE = 0o640;
const NEWLINE = Buffer.from('\n');

/** What became of a line: the kernel has all of it; there was no room for it; it was given up. */
export type LineResult = 'written' | 'dropped' | 'failed';

export interface AppendFileOptions {
  /** A path, or `-` for stdout. */
  readonly target: string;
  /** Lines that wait to be written; the one bound on memory. */
  readonly maxQueuedBytes: number;
  /** The line that tells a reader how many are missing. It is written as soon as a line can be written again. */
  readonly lostLine: (count: number) => string;
  /** Called once when the file becomes one that cannot be written, or not be opened anew. */
  readonly onProblem: (error: Error) => void;
  /** Called once when all of that is over. */
  readonly onRecovered: () => void;
}

interface WaitingLine {
  readonly bytes: Buffer;
  readonly settled: (result: LineResult) => void;
  withdrawn: boolean;
}

interface Target {
  readonly fd: number;
  /** False for the process's stdout, which is not ours to close. */
  readonly owned: boolean;
  /** The last line has no end: whoever wrote it was killed, or the disk was full. */
  readonly torn: boolean;
}

/**
 * Appends whole lines to a file, a named pipe, a device or stdout, in order, from a queue of bounded size.
 *
 * One write is under way at a time, in Node's thread pool, so that a disk that hangs never holds up the event loop. A write
 * that fails is tried again, with growing pauses; the lines wait meanwhile. A line of which only a part was written is ended
 * there, and written again whole on a line of its own.
 */
export class AppendFile {
  readonly #options: AppendFileOptions;
  #target: Target;
  #queue: WaitingLine[] = [];
  #queuedBytes = 0;
  /** How much of the first line has been written. */
  #headBytes = 0;
  #torn: boolean;
  #lost = 0;
  readonly #problems = new Map<'write' | 'reopen', Error>();
  #running = false;
  #writing = false;
  #reopenAsked: (() => void) | undefined;
  #retryMs = FIRST_RETRY_MS;
  #retry: NodeJS.Timeout | undefined;
  #reopenRetry: NodeJS.Timeout | undefined;
  #stalled: NodeJS.Timeout | undefined;
  #state: 'open' | 'closing' | 'closed' = 'open';
  #onIdle: (() => void) | undefined;

  private constructor(options: AppendFileOptions, target: Target) {
    this.#options = options;
    this.#target = target;
    this.#torn = target.torn;
  }

  /** Rejects with the system's error where the target cannot be opened. Creates a file that is missing, for its owner alone. */
  static async open(options: AppendFileOptions): Promise<AppendFile> {
    return new AppendFile(options, await openTarget(options.target));
  }

  /** Why the file cannot be written at present; undefined when, as far as is known, it can. */
  get problem(): Error | undefined {
    return this.#problems.get('write');
  }

  /**
   * Queues a line, given without its end. `settled` is called exactly once, perhaps at once.
   *
   * @param share  the part of the queue that may be full for this line still to be taken, 0 to 1
   * @returns gives the line up, unless it has been written or is being written just now
   */
  append(line: string, settled: (result: LineResult) => void, share = 1): () => void {
    const bytes = Buffer.from(`${line}\n`);
    if (this.#state !== 'open' || this.#queuedBytes + bytes.length > this.#options.maxQueuedBytes * share) {
      this.#lost++;
      settled('dropped');
      return () => undefined;
    }
    const waiting = { bytes, settled, withdrawn: false };
    this.#push(waiting);
    return () => {
      waiting.withdrawn = true;
      if (!this.#writing) this.#sweep();
    };
  }

  /**
   * Opens the target anew, after it was renamed; tries a failed write at once. Where that fails the old file stays in use, and
   * the opening is tried again every second. Resolves when it has been tried, or after 2 s; never rejects.
   */
  async reopen(): Promise<void> {
    if (this.#state !== 'open') return;
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const before = this.#reopenAsked;
    this.#reopenAsked = () => {
      before?.();
      resolve(undefined);
    };
    this.#tryNow();
    await within(DEADLINE_MS, promise);
  }

  /** Writes what waits, for at most 2 s, and closes. Lines that come later are dropped. Never rejects. */
  async close(): Promise<void> {
    if (this.#state !== 'open') return;
    this.#state = 'closing';
    const { promise: idle, resolve } = Promise.withResolvers<undefined>();
    const deadline = setTimeout(() => resolve(undefined), DEADLINE_MS);
    this.#onIdle = () => resolve(undefined);
    this.#tryNow();
    await idle;
    this.#state = 'closed';
    for (const timer of [deadline, this.#retry, this.#reopenRetry, this.#stalled]) clearTimeout(timer);
    for (const { settled } of this.#queue.splice(0)) settled('failed');
    // A write that hangs keeps its descriptor: closed under it, the number could soon be another file's.
    if (this.#running) return;
    try {
      await closeTarget(this.#target);
    } catch (cause) {
      this.#raise('write', cause as Error); // some file systems tell only now of a write that failed
    }
  }

  #push(line: WaitingLine): void {
    this.#queue.push(line);
    this.#queuedBytes += line.bytes.length;
    if (this.#stalled === undefined) this.#watchForStall();
    if (this.#retry === undefined) this.#start();
  }

  #tryNow(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#retryMs = FIRST_RETRY_MS;
    this.#start();
  }

  #start(): void {
    if (this.#running) return;
    this.#running = true;
    void this.#run();
  }

  /** Never rejects. Ends when nothing waits, or with a timer set that starts it again. */
  async #run(): Promise<void> {
    let pauseMs: number | undefined;
    while (this.#state !== 'closed') {
      const tried = this.#reopenAsked;
      if (tried !== undefined) {
        await this.#openAnew(tried);
        pauseMs = undefined;
        continue;
      }
      // Every line that waited has been given up. Only a write can show that the file takes lines again.
      if (this.#queue.length === 0 && this.#problems.has('write')) this.#tellLost();
      if (this.#queue.length === 0 || pauseMs !== undefined) break;
      pauseMs = await this.#writeSome();
    }
    this.#running = false;
    if (this.#queue.length === 0) this.#onIdle?.();
    else if (this.#state !== 'closed') this.#retryIn(pauseMs);
  }

  /** Answers how long to wait before the next try where this one failed. */
  async #writeSome(): Promise<number | undefined> {
    this.#writing = true;
    try {
      const { bytesWritten } = await write(this.#target.fd, this.#nextBytes());
      this.#took(bytesWritten);
      return undefined;
    } catch (cause) {
      return this.#failed(cause as NodeJS.ErrnoException);
    } finally {
      this.#writing = false;
      this.#sweep();
    }
  }

  /** As many lines as one write takes, so that a burst of them costs few writes. */
  #nextBytes(): Buffer {
    const parts: Buffer[] = this.#torn ? [NEWLINE] : [];
    let bytes = 0;
    for (const line of this.#queue) {
      if (bytes > 0 && bytes + line.bytes.length > MAX_WRITE_BYTES) break;
      parts.push(bytes === 0 ? line.bytes.subarray(this.#headBytes) : line.bytes);
      bytes += line.bytes.length;
    }
    return Buffer.concat(parts);
  }

  #took(count: number): void {
    if (this.#state === 'closed') return;
    let bytes = this.#headBytes + count;
    if (this.#torn && count > 0) {
      this.#torn = false;
      bytes--;
    }
    let whole = 0;
    for (const line of this.#queue) {
      if (line.bytes.length > bytes) break;
      bytes -= line.bytes.length;
      whole++;
    }
    this.#headBytes = bytes;
    for (const line of this.#queue.splice(0, whole)) {
      this.#queuedBytes -= line.bytes.length;
      line.settled('written');
    }
    this.#watchForStall();
    if (whole === 0) return;
    this.#retryMs = FIRST_RETRY_MS;
    this.#clear('write');
    if (this.#lost > 0) this.#tellLost();
  }

  #failed(error: NodeJS.ErrnoException): number {
    // A pipe that is full: its reader is slow, or sleeps, which the stall timer finds out. The line goes on where it is.
    if (error.code === 'EAGAIN') return FULL_PIPE_RETRY_MS;
    if (this.#headBytes > 0) {
      // What follows might land in a file that was truncated meanwhile to make room, so the line is written again whole.
      this.#torn = true;
      this.#headBytes = 0;
    }
    if (this.#state !== 'closed') this.#raise('write', error);
    const pauseMs = this.#retryMs;
    this.#retryMs = Math.min(2 * pauseMs, LAST_RETRY_MS);
    return pauseMs;
  }

  #retryIn(delayMs: number | undefined): void {
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#start();
    }, delayMs);
  }

  /** Takes the lines that were given up out of the queue, except one that a pipe has already got the beginning of. */
  #sweep(): void {
    const isGivenUp = (line: WaitingLine, at: number): boolean => line.withdrawn && (at > 0 || this.#headBytes === 0);
    const givenUp = this.#queue.filter(isGivenUp);
    if (givenUp.length === 0) return;
    this.#queue = this.#queue.filter((line, at) => !isGivenUp(line, at));
    for (const { bytes, settled } of givenUp) {
      this.#queuedBytes -= bytes.length;
      this.#lost++;
      settled('failed');
    }
    if (this.#queue.length === 0) this.#watchForStall();
  }

  /** From now on, for as long as anything waits. */
  #watchForStall(): void {
    clearTimeout(this.#stalled);
    this.#stalled = undefined;
    if (this.#queue.length === 0) return;
    this.#stalled = setTimeout(() => {
      this.#raise('write', new Error(`nothing that was to be written has been taken for ${STALLED_MS / 1000} s`));
    }, STALLED_MS);
  }

  /** Room or no room: it is one short line, and the next is told only when this one has been written. */
  #tellLost(): void {
    const line = this.#options.lostLine(this.#lost);
    this.#lost = 0;
    this.#push({ bytes: Buffer.from(`${line}\n`), settled: () => undefined, withdrawn: false });
  }

  async #openAnew(tried: () => void): Promise<void> {
    this.#reopenAsked = undefined;
    clearTimeout(this.#reopenRetry);
    const old = this.#target;
    try {
      this.#target = await openTarget(this.#options.target);
      this.#torn = this.#target.torn;
      this.#headBytes = 0;
      this.#clear('reopen');
      await closeTarget(old);
    } catch (cause) {
      this.#raise('reopen', cause as Error);
      if (this.#state === 'open') this.#reopenRetry = setTimeout(() => void this.reopen(), REOPEN_RETRY_MS);
    }
    tried();
  }

  #raise(kind: 'write' | 'reopen', error: Error): void {
    if (this.#problems.has(kind)) return;
    this.#problems.set(kind, error);
    this.#options.onProblem(error);
  }

  #clear(kind: 'write' | 'reopen'): void {
    if (this.#problems.delete(kind) && this.#problems.size === 0) this.#options.onRecovered();
  }
}

async function openTarget(path: string): Promise<Target> {
  if (path === STDOUT) return openStdout();
  // Without O_NONBLOCK, opening a named pipe that nobody reads takes a thread of the pool for ever.
  const { O_APPEND, O_CREAT, O_NONBLOCK, O_RDWR, O_WRONLY } = fs.constants;
  const regular = (await statOf(path))?.isFile() ?? true;
  const fd = await open(path, (regular ? O_RDWR : O_WRONLY) | O_APPEND | O_CREAT | O_NONBLOCK, 0o600);
  try {
    const stats = await fstat(fd);
    if (!stats.isFile()) return { fd, owned: true, torn: false };
    await keepPrivate(fd, stats);
    return { fd, owned: true, torn: await isTorn(fd, stats) };
  } catch (cause) {
    await close(fd);
    throw cause;
  }
}

async function statOf(path: string): Promise<fs.Stats | undefined> {
  try {
    return await stat(path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw cause;
  }
}

/**
 * A pipe is opened once more: the process's own descriptor blocks, and its flags are shared with whoever gave it to us. A file
 * must not be, since the two would then write over each other; nor can a socket.
 */
async function openStdout(): Promise<Target> {
  const { O_NONBLOCK, O_WRONLY } = fs.constants;
  const { fd } = process.stdout;
  if (!(await fstat(fd)).isFIFO()) return { fd, owned: false, torn: false };
  return { fd: await open(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK), owned: true, torn: false };
}

/**
 * Takes away what others may do with the file, and that the group may write. That the group may read stays: whoever made the
 * file so lets a log shipper in. Refusing instead would stop every session at the first rotation whose `create` has a wide mode.
 */
async function keepPrivate(fd: number, { mode }: fs.Stats): Promise<void> {
  if ((mode & 0o777 & ~WIDEST_MODE) !== 0) await fchmod(fd, mode & WIDEST_MODE);
}

async function isTorn(fd: number, { size }: fs.Stats): Promise<boolean> {
  if (size === 0) return false;
  const { buffer } = await read(fd, Buffer.alloc(1), 0, 1, size - 1);
  return !buffer.equals(NEWLINE);
}

async function closeTarget({ fd, owned }: Target): Promise<void> {
  if (owned) await close(fd);
}
