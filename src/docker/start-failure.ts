import type { OutputSink } from '../exec/connection.ts';

/**
 * How the message begins that dockerd writes on stdout when it could not start a command (20.10 to 28): the OCI runtime's, that of
 * containerd's shim for a container that ends at that moment (`cannot exec in a stopped state: unknown`, `ttrpc: closed:
 * unknown`), or that of the way there. Other programs may begin alike: that costs them one inspection.
 */
export const START_FAILURES: readonly string[] = [
  'OCI runtime exec failed: ',
  'cannot exec in a ',
  'cannot start a ',
  'connection error: ',
  'context canceled',
  'context deadline exceeded',
  'failed to open ',
  'failed to retrieve OCI ',
  'failed to start ',
  'task ',
  'transport is closing',
  'ttrpc: ',
];
const BEGINNINGS = START_FAILURES.map(text => Buffer.from(text));
/** Those among them that tell of a container that has ended. */
const CONTAINER_ENDED = /stopped state|stopped process|deleted state|not running|^ttrpc: closed|^task .* not found/;

/** Whether a start failed because the container ended, by its text. */
export function tellsOfContainerEnd(text: string): boolean {
  return CONTAINER_ENDED.test(text);
}

/** The runtime's message holds the command's name and little else. */
const MAX_HELD_BYTES = 16 * 1024;
const EMPTY = Buffer.alloc(0);

/**
 * Keeps the "could not start" message off the client's stdout, where it does not belong.
 *
 * Output that begins like such a message is held back until it is known whether the command ever ran; everything else passes
 * straight through. A program may print the same words: then `release` delivers them, late but whole.
 */
export class StartFailureGuard implements OutputSink {
  readonly #client: OutputSink | undefined;
  readonly #onSuspicion: () => void;
  #held: Buffer | undefined = EMPTY;

  /** `onSuspicion` is called once, when output is held back: the caller then finds out whether the command runs. */
  constructor(options: { client: OutputSink | undefined; onSuspicion: () => void }) {
    this.#client = options.client;
    this.#onSuspicion = options.onSuspicion;
  }

  write(chunk: Buffer): boolean {
    if (this.#held === undefined) return this.#client?.write(chunk) ?? true;
    if (chunk.length === 0) return true;
    const suspected = this.suspected;
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const held = this.#held;
    if (!BEGINNINGS.some(beginning => beginAlike(held, beginning)) || held.length > MAX_HELD_BYTES)
      return this.release();
    if (!suspected) this.#onSuspicion();
    return true;
  }

  /** Whether something is held back. */
  get suspected(): boolean {
    return this.#held !== undefined && this.#held.length > 0;
  }

  /** What is held back, as the text of a start failure. */
  get text(): string {
    return this.#held?.toString('utf8').trim() ?? '';
  }

  /** The command did run: delivers what was held, and everything from now on at once. */
  release(): boolean {
    const held = this.#held;
    this.#held = undefined;
    return held === undefined || held.length === 0 || (this.#client?.write(held) ?? true);
  }
}

/** Equal as far as both go. */
function beginAlike(one: Buffer, other: Buffer): boolean {
  const comparable = Math.min(one.length, other.length);
  return one.subarray(0, comparable).equals(other.subarray(0, comparable));
}
