import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';

const INTERVAL_MS = 5_000;
const MAX_BYTES = 4 * 1024 * 1024;
/** How often files that change while they are read are read again, before what came is taken for their content. */
const MAX_READINGS = 3;

export type ReloadResult = 'success' | 'failure';

export interface WatchedFilesOptions<T> {
  /** What the files are, for messages: `serving certificate`. */
  readonly name: string;
  readonly paths: readonly string[];
  /** Makes the value of the contents, in the order of `paths`, or throws. Its message is passed on: nothing secret in it. */
  readonly load: (...contents: Buffer[]) => T | Promise<T>;
  /** After each load but the first. Must not throw. */
  readonly onReload: (result: ReloadResult, error?: Error) => void;
  /** Of each file. */
  readonly maxBytes?: number;
  readonly intervalMs?: number;
}

/** The files as they were found at one moment. */
interface Reading {
  /** Which files these are, as far as that can be told without reading them. */
  readonly identity: string;
  /** Two readings that came to the same have the same. */
  readonly digest: string;
  readonly contents: readonly Buffer[] | Error;
}

/**
 * One or several files that are read together, and again when one of them has changed. A change that cannot be used leaves the
 * value as it is, and is reported once. Whoever writes a file in place instead of renaming a new one over it may see it
 * loaded half-written, until the next look.
 *
 * They are looked at every few seconds. Kubernetes mounts a Secret as symbolic links (`tls.crt` → `..data/tls.crt`) and
 * renames `..data` onto another directory; editors rename a new file over the old. inotify watches an inode and sees neither
 * unless it follows every directory of the path, misses everything on NFS and what another container changes on some overlays,
 * and can run out of watches. A `stat` of each file sees them all.
 *
 * Secrets may be inside, so no error quotes a content or keeps its cause: what a parser throws often shows what it read.
 */
export class WatchedFiles<T> {
  readonly #options: WatchedFilesOptions<T>;
  readonly #timer: NodeJS.Timeout;
  #value: T;
  /** Undefined while a file cannot be read: that may end without any change to see. */
  #identity: string | undefined;
  #digest: string;
  #running: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;
  #asked = false;
  #closed = false;

  private constructor(options: WatchedFilesOptions<T>, value: T, { identity, digest }: Reading) {
    this.#options = options;
    this.#value = value;
    this.#identity = identity;
    this.#digest = digest;
    this.#timer = setInterval(() => void this.#soon(), options.intervalMs ?? INTERVAL_MS).unref();
  }

  /** Loads them for the first time. Rejects with one line that names the file and what is wrong with it. */
  static async open<T>(options: WatchedFilesOptions<T>): Promise<WatchedFiles<T>> {
    const reading = await read(options);
    return new WatchedFiles(options, await load(options, reading), reading);
  }

  /** What the last load that succeeded has made. */
  get value(): T {
    return this.#value;
  }

  /**
   * Reads and loads them now, changed or not: for SIGHUP. Resolves when that is done, and has been reported, also when it
   * failed. A load under way may have read before the call, so another one follows it.
   */
  async reloadNow(): Promise<void> {
    this.#asked = true;
    return this.#soon();
  }

  /** Looks no more, and reports nothing more. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
  }

  /** One check after the other: at most one runs, and at most one waits for it. */
  #soon(): Promise<void> {
    this.#next ??= this.#running.then(() => {
      this.#next = undefined;
      this.#running = this.#check();
      return this.#running;
    });
    return this.#next;
  }

  async #check(): Promise<void> {
    const asked = this.#asked;
    this.#asked = false;
    if (this.#closed) return;
    if (!asked && (await identityOf(this.#options.paths)) === this.#identity) return;
    const reading = await read(this.#options);
    const known = reading.digest === this.#digest;
    this.#identity = reading.contents instanceof Error ? undefined : reading.identity;
    this.#digest = reading.digest;
    if (known && !asked) return;
    try {
      this.#value = await load(this.#options, reading);
    } catch (cause) {
      this.#report('failure', asError(cause));
      return;
    }
    this.#report('success');
  }

  #report(result: ReloadResult, error?: Error): void {
    if (!this.#closed) this.#options.onReload(result, error);
  }
}

/**
 * The content of a regular file, in one piece.
 *
 * @throws {Error} in one line with the path: when it cannot be read, is something else, or is longer than `maxBytes`
 */
export async function readBounded(path: string, maxBytes: number): Promise<Buffer> {
  // Without O_NONBLOCK, opening a named pipe would wait for somebody to write to it.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    if (!(await file.stat()).isFile()) throw new Error(`${path} is not a file`);
    // One byte more than allowed (`end` is read too) tells a file that is too long; its size may be wrong by now.
    const content = await buffer(file.createReadStream({ end: maxBytes, autoClose: false }));
    if (content.length > maxBytes) throw new Error(`${path} is longer than ${maxBytes} bytes`);
    return content;
  } finally {
    await file.close();
  }
}

async function load<T>({ name, paths, load }: WatchedFilesOptions<T>, { contents }: Reading): Promise<T> {
  if (contents instanceof Error) throw new Error(`${name}: ${contents.message}`);
  let problem: string;
  try {
    return await load(...contents);
  } catch (cause) {
    problem = asError(cause).message;
  }
  throw new Error(`${name} ${paths.join(' and ')}: ${problem}`); // without its cause, which may hold what was read
}

async function read({ paths, maxBytes = MAX_BYTES }: WatchedFilesOptions<unknown>): Promise<Reading> {
  for (let readings = 1; ; readings++) {
    const identity = await identityOf(paths);
    const contents = await readAll(paths, maxBytes);
    // Replaced meanwhile: half of a pair may be of the old one.
    if (readings < MAX_READINGS && identity !== (await identityOf(paths))) continue;
    return { identity, digest: digestOf(contents), contents };
  }
}

async function readAll(paths: readonly string[], maxBytes: number): Promise<readonly Buffer[] | Error> {
  const contents: Buffer[] = [];
  try {
    for (const path of paths) contents.push(await readBounded(path, maxBytes));
    return contents;
  } catch (cause) {
    return asError(cause);
  }
}

/** Differs whenever a file has been replaced, written or touched; a time of change moves too where a tool keeps that of writing. */
async function identityOf(paths: readonly string[]): Promise<string> {
  const identities = paths.map(async path => {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
      return [dev, ino, size, mtimeNs, ctimeNs].join();
    } catch (cause) {
      return asError(cause).message;
    }
  });
  return (await Promise.all(identities)).join('\n');
}

/** A digest, so that the contents need not be kept to compare with. */
function digestOf(contents: readonly Buffer[] | Error): string {
  if (contents instanceof Error) return contents.message;
  const hash = createHash('sha256');
  for (const content of contents) hash.update(`${content.length}:`).update(content);
  return hash.digest('hex');
}

function asError(cause: unknown): Error {
  return cause instanceof Error ? cause : new Error(String(cause));
}
