import { Transform, type TransformCallback } from 'node:stream';

const RST_STREAM = 3;
const FIN = 0x01;
const DATA_HEADER_BYTES = 8;
/** Far above what a node sends: replies, pings, resets. */
const MAX_CONTROL_BYTES = 64 * 1024;
/** Every client of Kubernetes opens it first. */
const ERROR_STREAM = 1;

/**
 * Passes on what a node sends over SPDY and, if the node goes before it has said how the command ended, says in its place that
 * this is unknown.
 *
 * A client that is left without a status takes that for success: kubectl exits with 0. So the connection must not just be
 * closed. To have a place for the status between two frames, a DATA frame goes on as several, one for each piece that arrives.
 */
export class SpdyEnd extends Transform {
  readonly #status: string;
  /** The header of the frame that is being read, as far as it is here; for control frames, all of the frame. */
  #held = Buffer.alloc(0);
  /** Of the current DATA frame. */
  #stream = 0;
  #flags = 0;
  #left = 0;
  #statusBytes = 0;
  #statusEnded = false;

  /** `status` is what the error stream is to say. */
  constructor(status: string) {
    super();
    this.#status = status;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#left > 0) {
        const piece = rest.subarray(0, this.#left);
        rest = rest.subarray(piece.length);
        this.#left -= piece.length;
        this.#pushData(piece, this.#left === 0 ? this.#flags : 0);
        continue;
      }
      // Headers and control frames are short: what is missing of one is taken from the chunk.
      const wanted = this.#frameBytes() - this.#held.length;
      if (wanted > MAX_CONTROL_BYTES) {
        done(new Error('the node sent a control frame that is too long'));
        return;
      }
      this.#held = Buffer.concat([this.#held, rest.subarray(0, wanted)]);
      rest = rest.subarray(wanted);
      if (this.#held.length === this.#frameBytes()) this.#takeHeld();
    }
    done();
  }

  override _flush(done: TransformCallback): void {
    if (!this.#statusEnded) {
      this.#stream = ERROR_STREAM;
      // Half a status cannot be mended, and no client decodes it.
      this.#pushData(this.#statusBytes === 0 ? Buffer.from(this.#status) : Buffer.alloc(0), FIN);
    }
    done();
  }

  /** How long what is held will be: the header, and the rest of a control frame. */
  #frameBytes(): number {
    const { length } = this.#held;
    const isControl = length > 0 && this.#held.readUInt8(0) >= 0x80;
    return length < DATA_HEADER_BYTES || !isControl
      ? DATA_HEADER_BYTES
      : DATA_HEADER_BYTES + this.#held.readUIntBE(5, 3);
  }

  #takeHeld(): void {
    const frame = this.#held;
    this.#held = Buffer.alloc(0);
    if (frame.readUInt8(0) >= 0x80) {
      const isReset = frame.readUInt16BE(2) === RST_STREAM && frame.length >= 12;
      if (isReset && (frame.readUInt32BE(8) & 0x7fffffff) === ERROR_STREAM) this.#statusEnded = true;
      this.push(frame);
      return;
    }
    this.#stream = frame.readUInt32BE(0);
    this.#flags = frame.readUInt8(4);
    this.#left = frame.readUIntBE(5, 3);
    if (this.#left === 0) this.#pushData(Buffer.alloc(0), this.#flags);
  }

  #pushData(piece: Buffer, flags: number): void {
    if (this.#stream === ERROR_STREAM) {
      this.#statusBytes += piece.length;
      if ((flags & FIN) !== 0) this.#statusEnded = true;
    }
    const header = Buffer.alloc(DATA_HEADER_BYTES);
    header.writeUInt32BE(this.#stream, 0);
    header.writeUInt8(flags, 4);
    header.writeUIntBE(piece.length, 5, 3);
    this.push(Buffer.concat([header, piece]));
  }
}
