/** Docker's stream types on a multiplexed stream (moby, pkg/stdcopy). */
const STDOUT = 1;
const STDERR = 2;
const SYSTEM_ERROR = 3;
const HEADER_BYTES = 8;

/** The Engine writes frames of at most 32 KiB; a declared length past this is no stdcopy stream. */
const MAX_FRAME_BYTES = 16 * 1024 * 1024;
const MAX_SYSTEM_ERROR_BYTES = 16 * 1024;
const EMPTY = Buffer.alloc(0);

/** The Engine reported an error inside the stream, or sent what is no multiplexed stream. */
export class StdcopyError extends Error {
  override readonly name = 'StdcopyError';
}

/**
 * Splits Docker's multiplexed stream, frames of `{type:u8, 0, 0, 0, length:u32be, payload}`, into stdout and stderr.
 *
 * Payload is handed on in slices of the pushed chunk as it arrives, never copied and never collected, so memory does not
 * depend on what a header declares. It loops: a program that writes single bytes would overflow the stack of a decoder that
 * recurses per frame.
 */
export class StdcopyDemultiplexer {
  readonly #onOutput: (stream: 'stdout' | 'stderr', slice: Buffer) => void;
  /** Made with the first frame: many a session is silent for long. */
  #header = EMPTY;
  #headerBytes = 0;
  #type = 0;
  #payloadLeft = 0;
  #systemError: Buffer[] = [];
  #systemErrorBytes = 0;

  constructor(onOutput: (stream: 'stdout' | 'stderr', slice: Buffer) => void) {
    this.#onOutput = onOutput;
  }

  /** Takes the next bytes of the stream. Throws StdcopyError, after which the stream is of no use. */
  push(chunk: Buffer): void {
    let offset = 0;
    while (offset < chunk.length) {
      offset += this.#payloadLeft > 0 ? this.#takePayload(chunk, offset) : this.#takeHeader(chunk, offset);
    }
  }

  /** Call at the stream's end. Throws StdcopyError when it ends inside a frame: the output is cut off. */
  end(): void {
    if (this.#payloadLeft > 0 || this.#headerBytes > 0)
      throw new StdcopyError('the Engine cut its stream off inside a frame');
  }

  #takeHeader(chunk: Buffer, offset: number): number {
    if (this.#header === EMPTY) this.#header = Buffer.alloc(HEADER_BYTES);
    const taken = Math.min(HEADER_BYTES - this.#headerBytes, chunk.length - offset);
    chunk.copy(this.#header, this.#headerBytes, offset, offset + taken);
    this.#headerBytes += taken;
    if (this.#headerBytes < HEADER_BYTES) return taken;
    this.#headerBytes = 0;
    this.#type = this.#header.readUInt8(0);
    this.#payloadLeft = this.#header.readUInt32BE(4);
    if (this.#type < STDOUT || this.#type > SYSTEM_ERROR)
      throw new StdcopyError(`the Engine sent stream type ${this.#type}`);
    if (this.#payloadLeft > MAX_FRAME_BYTES)
      throw new StdcopyError(`the Engine announced a frame of ${this.#payloadLeft} bytes`);
    if (this.#type === SYSTEM_ERROR) this.#takeSystemError(EMPTY); // an error without a text is one all the same
    return taken;
  }

  #takePayload(chunk: Buffer, offset: number): number {
    const taken = Math.min(this.#payloadLeft, chunk.length - offset);
    const slice = chunk.subarray(offset, offset + taken);
    this.#payloadLeft -= taken;
    if (this.#type === SYSTEM_ERROR) this.#takeSystemError(slice);
    else this.#onOutput(this.#type === STDERR ? 'stderr' : 'stdout', slice);
    return taken;
  }

  #takeSystemError(slice: Buffer): void {
    this.#systemError.push(slice.subarray(0, MAX_SYSTEM_ERROR_BYTES - this.#systemErrorBytes));
    this.#systemErrorBytes += slice.length;
    if (this.#payloadLeft > 0 && this.#systemErrorBytes < MAX_SYSTEM_ERROR_BYTES) return;
    throw new StdcopyError(`the Engine failed: ${Buffer.concat(this.#systemError).toString('utf8').trim()}`);
  }
}
