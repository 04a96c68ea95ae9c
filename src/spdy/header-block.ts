import {
  Z_BUF_ERROR,
  Z_NEED_DICT,
  Z_OK,
  Z_SYNC_FLUSH,
  zlibInflate,
  zlibInflateInit2,
  zlibInflateReset,
  zlibInflateSetDictionary,
  ZStream,
} from 'pako';
import { HEADER_DICTIONARY } from './dictionary.ts';
import { MAX_HEADER_BLOCK_BYTES, MAX_HEADER_NAME_BYTES, MAX_HEADER_VALUE_BYTES, MAX_HEADERS } from './frame.ts';
import { SpdyError } from './spdy-error.ts';

/** Only zlib's own format, with its largest window. */
const ZLIB_WINDOW_BITS = 15;
/** As many connections open their streams at the same time as a rule. */
const MAX_SPARE = 16;
const EMPTY = new Uint8Array(0);

/** Where every block is inflated to, and copied from; one byte more tells that it is too long. */
const OUTPUT = Buffer.alloc(MAX_HEADER_BLOCK_BYTES + 1);
/**
 * Streams that nobody uses, to be used again: as garbage each would keep 40 KiB outside the heap until the next long collection, while
 * thousands of connections come.
 */
const spare: ZStream[] = [];

/**
 * Inflates the header blocks of one SPDY connection, in arrival order.
 *
 * All blocks of a connection form a single zlib stream (SPDY/3 draft, "Name/Value Header Block"), so one inflater lives
 * as long as the connection may still open streams, about 40 KiB. Node's own zlib offers a streaming inflate only as an
 * asynchronous Transform, which would let frames overtake each other; pako decodes in place.
 */
export class HeaderBlockInflater {
  readonly #stream = spare.pop() ?? newStream();
  readonly #maxBlockBytes: number;

  /** `maxBlockBytes` can only be less than it is without. */
  constructor({ maxBlockBytes = MAX_HEADER_BLOCK_BYTES }: { maxBlockBytes?: number } = {}) {
    this.#maxBlockBytes = maxBlockBytes;
  }

  /**
   * The block's plain bytes.
   *
   * @throws {SpdyError} of scope `connection` for anything but a flushed block of this stream, or when its plain bytes pass
   * `maxBlockBytes`, before they are all inflated. The inflater is of no use afterwards.
   */
  inflate(block: Buffer): Buffer {
    const stream = this.#stream;
    stream.input = block;
    stream.next_in = 0;
    stream.avail_in = block.length;
    stream.output = OUTPUT;
    stream.next_out = 0;
    stream.avail_out = this.#maxBlockBytes + 1;
    let status = zlibInflate(stream, Z_SYNC_FLUSH);
    if (status === Z_NEED_DICT) {
      status = zlibInflateSetDictionary(stream, HEADER_DICTIONARY);
      if (status === Z_OK) status = zlibInflate(stream, Z_SYNC_FLUSH);
    }
    stream.input = EMPTY; // what was read from the socket with the block is not to be kept
    // "No progress" is what it says of an empty block. A stream that has ended could carry no further block.
    if (status !== Z_OK && status !== Z_BUF_ERROR) {
      throw new SpdyError(
        'connection',
        `header block is not a block of the zlib stream: ${stream.msg || `zlib status ${status}`}`,
      );
    }
    if (stream.avail_out === 0) {
      throw new SpdyError('connection', `header block inflates to more than ${this.#maxBlockBytes} bytes`);
    }
    return Buffer.from(OUTPUT.subarray(0, stream.next_out));
  }

  /** To be called when it is not needed any more. The inflater is of no use afterwards. */
  release(): void {
    // A stream that has been reset knows nothing of what it has inflated before.
    if (spare.length < MAX_SPARE && zlibInflateReset(this.#stream) === Z_OK) spare.push(this.#stream);
  }
}

function newStream(): ZStream {
  const stream = new ZStream();
  const status = zlibInflateInit2(stream, ZLIB_WINDOW_BITS);
  if (status !== Z_OK) throw new Error(`zlib status ${status}`);
  return stream;
}

/**
 * Reads an inflated block. Bytes become characters one to one (latin1), as Go's strings keep them; several values of one
 * name stay one value, joined by NUL.
 *
 * @throws {SpdyError} of scope `connection` when lengths and block disagree, of scope `stream` when the block is well
 * formed and its headers are not, or are too many or too long
 */
export function parseHeaderBlock(plain: Buffer): ReadonlyMap<string, string> {
  const reader = new BlockReader(plain);
  const count = reader.length('header count');
  if (count > MAX_HEADERS) {
    // Where the count lies there is no telling whether the block is well formed, and a lie must not be counted out.
    const possible = reader.left / 8; // each header has two lengths
    throw new SpdyError(count > possible ? 'connection' : 'stream', `${count} headers in one block`);
  }
  const headers = new Map<string, string>();
  let refused: SpdyError | undefined;
  for (let index = 0; index < count; index += 1) {
    const name = reader.text('header name');
    const value = reader.text('header value');
    refused ??= judge(name, value, headers);
    headers.set(name, value);
  }
  if (reader.left > 0) throw new SpdyError('connection', `${reader.left} bytes follow the last header`);
  if (refused !== undefined) throw refused;
  return headers;
}

function judge(name: string, value: string, before: ReadonlyMap<string, string>): SpdyError | undefined {
  if (name.length === 0) return new SpdyError('stream', 'empty header name');
  if (name.length > MAX_HEADER_NAME_BYTES) return new SpdyError('stream', `header name of ${name.length} bytes`);
  if (value.length > MAX_HEADER_VALUE_BYTES) return new SpdyError('stream', `header value of ${value.length} bytes`);
  if (/[A-Z]/.test(name)) return new SpdyError('stream', 'header name in upper case');
  if (before.has(name)) return new SpdyError('stream', 'duplicate header name');
  return undefined;
}

/** Walks through a block; what is asked for is judged against what is left before anything is made of it. */
class BlockReader {
  readonly #block: Buffer;
  #offset = 0;

  constructor(block: Buffer) {
    this.#block = block;
  }

  get left(): number {
    return this.#block.length - this.#offset;
  }

  length(what: string): number {
    if (this.left < 4) throw new SpdyError('connection', `header block ends within a ${what}`);
    const value = this.#block.readUInt32BE(this.#offset);
    this.#offset += 4;
    return value;
  }

  text(what: string): string {
    const length = this.length(what);
    if (length > this.left) throw new SpdyError('connection', `${what} of ${length} bytes where ${this.left} are left`);
    const text = this.#block.toString('latin1', this.#offset, this.#offset + length);
    this.#offset += length;
    return text;
  }
}

/** A block that says nothing. Every SYN_REPLY of a Kubernetes server carries it. */
export const EMPTY_HEADER_BLOCK: Buffer = Buffer.alloc(4);

const ZLIB_HEADER = Buffer.from('78f9e3c6a7c2', 'hex'); // level 9, preset dictionary, its Adler-32
const SYNC_MARKER = Buffer.from('000000ffff', 'hex');
const MAX_STORED_BYTES = 0xffff;

/**
 * Wraps outgoing header blocks into the connection's zlib stream without a compressor: each is one stored deflate block,
 * then an empty one. The empty block is what a sync flush leaves behind; without it kubectl hangs on the second reply.
 */
export class HeaderBlockStorer {
  #started = false;

  store(plain: Buffer): Buffer {
    if (plain.length > MAX_STORED_BYTES) throw new RangeError(`header block of ${plain.length} bytes`);
    const stored = Buffer.alloc(5);
    stored.writeUInt16LE(plain.length, 1);
    stored.writeUInt16LE(plain.length ^ 0xffff, 3);
    const block = Buffer.concat([...(this.#started ? [] : [ZLIB_HEADER]), stored, plain, SYNC_MARKER]);
    this.#started = true;
    return block;
  }
}
