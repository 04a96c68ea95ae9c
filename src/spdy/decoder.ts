import {
  FLAG_FIN,
  FLAG_UNIDIRECTIONAL,
  FRAME_HEADER_BYTES,
  FRAME_TYPE,
  MAX_CONTROL_PAYLOAD_BYTES,
  SPDY_VERSION,
  type ControlFrame,
} from './frame.ts';
import { SpdyError } from './spdy-error.ts';

/** Receives what the decoder finds, in the order of the wire. */
export interface FrameReceiver {
  control(frame: ControlFrame): void;
  /**
   * A piece of a DATA frame, as it arrived; `fin` only with the last piece, which may be empty. The piece is a part of the
   * pushed chunk, not a copy.
   */
  data(streamId: number, piece: Buffer, fin: boolean): void;
}

const CONTROL_BIT = 0x8000_0000;
const LOW_31_BITS = 0x7fff_ffff;
const LOW_24_BITS = 0x00ff_ffff;
const EMPTY = Buffer.alloc(0);

/** What a payload may measure, by type. A type that is missing here ends the connection, as it does in Go's spdystream. */
const PAYLOAD_BYTES: ReadonlyMap<number, { readonly min: number; readonly max: number }> = new Map([
  [FRAME_TYPE.SYN_STREAM, { min: 10, max: MAX_CONTROL_PAYLOAD_BYTES }],
  [FRAME_TYPE.SYN_REPLY, { min: 4, max: MAX_CONTROL_PAYLOAD_BYTES }],
  [FRAME_TYPE.RST_STREAM, { min: 8, max: 8 }],
  [FRAME_TYPE.SETTINGS, { min: 4, max: LOW_24_BITS }], // never held
  [FRAME_TYPE.PING, { min: 4, max: 4 }],
  [FRAME_TYPE.GOAWAY, { min: 8, max: 8 }],
  [FRAME_TYPE.HEADERS, { min: 4, max: MAX_CONTROL_PAYLOAD_BYTES }],
  [FRAME_TYPE.WINDOW_UPDATE, { min: 8, max: 8 }],
]);

/**
 * Turns the bytes of one direction of a connection into frames; any split of the same bytes gives the same frames.
 *
 * A length is judged when the frame's header is complete, before anything is held for it. Memory is bounded by one control
 * payload: DATA is handed on piece by piece, SETTINGS and WINDOW_UPDATE are stepped over without a look inside (a declared
 * number of settings made spdystream allocate without bound, CVE-2026-35469).
 */
export class FrameDecoder {
  readonly #receiver: FrameReceiver;
  /** Of a header that did not arrive in one piece: rare, and a buffer of its own costs every connection 300 bytes. */
  #header = EMPTY;
  #headerBytes = 0;
  /** Where the next byte belongs. */
  #within: 'header' | 'control' | 'data' | 'skipped' = 'header';
  /** Bytes of the current payload that have not arrived. */
  #remaining = 0;
  #type = 0;
  #flags = 0;
  /** Of the current DATA frame. */
  #streamId = 0;
  /** The payload of a control frame that did not arrive in one piece. */
  #payload = EMPTY;

  constructor(receiver: FrameReceiver) {
    this.#receiver = receiver;
  }

  /** @throws {SpdyError} of scope `connection`; nothing may be pushed afterwards. What the receiver throws passes through. */
  push(chunk: Buffer): void {
    let offset = 0;
    while (offset < chunk.length) {
      switch (this.#within) {
        case 'header':
          offset = this.#readHeader(chunk, offset);
          break;
        case 'control':
          offset = this.#readControl(chunk, offset);
          break;
        case 'data':
          offset = this.#readData(chunk, offset);
          break;
        case 'skipped':
          offset += this.#advance(chunk.length - offset);
      }
    }
  }

  #readHeader(chunk: Buffer, offset: number): number {
    if (this.#headerBytes === 0 && chunk.length - offset >= FRAME_HEADER_BYTES) {
      this.#begin(chunk.readUInt32BE(offset), chunk.readUInt32BE(offset + 4));
      return offset + FRAME_HEADER_BYTES;
    }
    if (this.#header === EMPTY) this.#header = Buffer.alloc(FRAME_HEADER_BYTES);
    const copied = chunk.copy(this.#header, this.#headerBytes, offset);
    this.#headerBytes += copied;
    if (this.#headerBytes === FRAME_HEADER_BYTES) {
      this.#headerBytes = 0;
      this.#begin(this.#header.readUInt32BE(0), this.#header.readUInt32BE(4));
    }
    return offset + copied;
  }

  /** Judges a frame by its header and says where its payload goes. */
  #begin(first: number, second: number): void {
    this.#flags = second >>> 24;
    this.#remaining = second & LOW_24_BITS;
    if (first < CONTROL_BIT) {
      this.#beginData(first);
      return;
    }
    const version = (first & LOW_31_BITS) >>> 16;
    if (version !== SPDY_VERSION) throw new SpdyError('connection', `control frame of version ${version}`);
    this.#type = first & 0xffff;
    const allowed = PAYLOAD_BYTES.get(this.#type);
    if (allowed === undefined) throw new SpdyError('connection', `control frame of unknown type ${this.#type}`);
    if (this.#remaining < allowed.min || this.#remaining > allowed.max) {
      throw new SpdyError('connection', `control frame of type ${this.#type} with ${this.#remaining} bytes of payload`);
    }
    const skipped = this.#type === FRAME_TYPE.SETTINGS || this.#type === FRAME_TYPE.WINDOW_UPDATE;
    this.#within = skipped ? 'skipped' : 'control';
  }

  #beginData(streamId: number): void {
    if (streamId === 0) throw new SpdyError('connection', 'DATA on stream 0');
    this.#streamId = streamId;
    if (this.#remaining > 0) {
      this.#within = 'data';
    } else if (this.#fin) {
      this.#receiver.data(streamId, EMPTY, true);
    } // else: says nothing, and is ignored by spdystream too
  }

  #readData(chunk: Buffer, offset: number): number {
    const length = this.#advance(chunk.length - offset);
    const piece = chunk.subarray(offset, offset + length);
    this.#receiver.data(this.#streamId, piece, this.#remaining === 0 && this.#fin);
    return offset + length;
  }

  #readControl(chunk: Buffer, offset: number): number {
    const total = this.#payload.length > 0 ? this.#payload.length : this.#remaining;
    const gathered = total - this.#remaining;
    const length = this.#advance(chunk.length - offset);
    if (length === total) {
      this.#receiver.control(parseControl(this.#type, this.#flags, chunk.subarray(offset, offset + length)));
      return offset + length;
    }
    if (gathered === 0) this.#payload = Buffer.allocUnsafe(total); // judged: at most MAX_CONTROL_PAYLOAD_BYTES
    chunk.copy(this.#payload, gathered, offset, offset + length);
    if (this.#remaining === 0) {
      const payload = this.#payload;
      this.#payload = EMPTY;
      this.#receiver.control(parseControl(this.#type, this.#flags, payload));
    }
    return offset + length;
  }

  /** Takes up to `available` bytes of the current payload; after its last byte the next header follows. */
  #advance(available: number): number {
    const taken = Math.min(available, this.#remaining);
    this.#remaining -= taken;
    if (this.#remaining === 0) this.#within = 'header';
    return taken;
  }

  get #fin(): boolean {
    return (this.#flags & FLAG_FIN) !== 0;
  }
}

/** `payload` has a length that PAYLOAD_BYTES allows for `type`. Flags that nobody defined are ignored. */
function parseControl(type: number, flags: number, payload: Buffer): ControlFrame {
  const first = payload.readUInt32BE(0);
  if (type === FRAME_TYPE.PING) {
    if (first === 0) throw new SpdyError('connection', 'PING with id 0');
    return { kind: 'PING', id: first };
  }
  if (type === FRAME_TYPE.GOAWAY) {
    return { kind: 'GOAWAY', lastGoodStreamId: first & LOW_31_BITS, status: payload.readUInt32BE(4) };
  }
  const streamId = first & LOW_31_BITS;
  if (streamId === 0) throw new SpdyError('connection', `control frame of type ${type} on stream 0`);
  const fin = (flags & FLAG_FIN) !== 0;
  switch (type) {
    case FRAME_TYPE.SYN_STREAM: {
      // Between the ids and the block: associated stream, priority and slot, which Kubernetes leaves at 0.
      const unidirectional = (flags & FLAG_UNIDIRECTIONAL) !== 0;
      return { kind: 'SYN_STREAM', streamId, fin, unidirectional, headerBlock: payload.subarray(10) };
    }
    case FRAME_TYPE.SYN_REPLY:
      return { kind: 'SYN_REPLY', streamId, fin, headerBlock: payload.subarray(4) };
    case FRAME_TYPE.HEADERS:
      return { kind: 'HEADERS', streamId, fin, headerBlock: payload.subarray(4) };
    default: // RST_STREAM: every other type has been dealt with
      return { kind: 'RST_STREAM', streamId, status: payload.readUInt32BE(4) };
  }
}
