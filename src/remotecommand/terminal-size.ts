import type { ResizeSource, TerminalSize } from '../exec/connection.ts';

/** A size as Go's encoder writes it is about 30 bytes; an object that grows past this is no size. */
const MAX_OBJECT_BYTES = 1024;
const MAX_CELLS = 0xffff;
/** Parsing a whole message of the largest size would hold up every other session for seconds. */
const MAX_CHUNK_BYTES = 64 * 1024;

/**
 * Reads the resize stream: concatenated JSON objects `{"Width":80,"Height":24}`, cut anywhere.
 *
 * Like Go's decoder it matches keys in any case and stops for good at the first malformed object: resizing ends, the
 * session goes on. Sizes that no terminal has (zero, or beyond 16 bits) are skipped.
 */
export class TerminalSizeDecoder {
  #pending = '';
  #stopped = false;

  /** The newest size completed by this chunk, or undefined. */
  push(chunk: Buffer): TerminalSize | undefined {
    if (this.#stopped) return undefined;
    if (chunk.length > MAX_CHUNK_BYTES) return this.#stop(undefined);
    this.#pending += chunk.toString('latin1');
    let newest: TerminalSize | undefined;
    for (;;) {
      this.#pending = this.#pending.trimStart();
      const end = this.#pending.indexOf('}'); // sizes hold numbers only, so the first brace closes the object
      if (end < 0) break;
      const parsed = end < MAX_OBJECT_BYTES ? parse(this.#pending.slice(0, end + 1)) : undefined;
      if (parsed === undefined) return this.#stop(newest);
      this.#pending = this.#pending.slice(end + 1);
      if (isTerminalSize(parsed)) newest = parsed;
    }
    if (this.#pending.length > MAX_OBJECT_BYTES || !/^(\{|$)/.test(this.#pending)) return this.#stop(newest);
    return newest;
  }

  #stop(newest: TerminalSize | undefined): TerminalSize | undefined {
    this.#stopped = true;
    this.#pending = '';
    return newest;
  }
}

function parse(text: string): TerminalSize | undefined {
  let object: unknown;
  try {
    object = JSON.parse(text);
  } catch {
    return undefined; // the caller stops: that is what the error means here
  }
  if (typeof object !== 'object' || object === null || Array.isArray(object)) return undefined;
  const fields = new Map(Object.entries(object).map(([key, value]: [string, unknown]) => [key.toLowerCase(), value]));
  const [width, height] = [fields.get('width') ?? 0, fields.get('height') ?? 0];
  if (typeof width !== 'number' || typeof height !== 'number') return undefined;
  return { width, height };
}

function isTerminalSize({ width, height }: TerminalSize): boolean {
  return [width, height].every(cells => Number.isInteger(cells) && cells >= 1 && cells <= MAX_CELLS);
}

/** The resize stream as a session sees it: decoded, and only the newest size kept until somebody consumes it. */
export class TerminalSizes implements ResizeSource {
  readonly #decoder = new TerminalSizeDecoder();
  #newest: TerminalSize | undefined;
  #listener: ((size: TerminalSize) => void) | undefined;

  push(chunk: Buffer): void {
    const size = this.#decoder.push(chunk);
    if (size === undefined) return;
    this.#newest = size;
    this.#listener?.(size);
  }

  consume(listener: (size: TerminalSize) => void): void {
    this.#listener = listener;
    if (this.#newest !== undefined) listener(this.#newest);
  }
}
