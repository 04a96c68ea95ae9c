import type { InputConsumer, InputSource } from '../exec/connection.ts';

/** A chunk may keep four times its size alive: it is a part of what was read from the socket at once, up to 64 KiB. */
const MAX_KEPT_RATIO = 4;
/** Where chunks go that would keep more. */
const SLAB_BYTES = 16 * 1024;
/** What a chunk of a few bytes costs beside them. */
const CHUNK_COST_BYTES = 256;
const EMPTY = Buffer.alloc(0);

/**
 * The client's input between the transport, which pushes, and the session, which may not be ready yet.
 *
 * Chunks are held until a consumer comes. `push` answers false when the transport should stop reading: nobody consumes and
 * the high-water mark is reached, or the consumer said so. `onResume` is called when it may go on.
 */
export class HeldInput implements InputSource {
  readonly #highWaterMarkBytes: number;
  readonly #onResume: () => void;
  #held: Buffer[] = [];
  #heldBytes = 0;
  /** What is left of the current slab. */
  #slab = EMPTY;
  #ended = false;
  #consumer: InputConsumer | undefined;

  constructor(options: { highWaterMarkBytes: number; onResume: () => void }) {
    this.#highWaterMarkBytes = options.highWaterMarkBytes;
    this.#onResume = options.onResume;
  }

  push(chunk: Buffer): boolean {
    if (this.#ended || chunk.length === 0) return true; // nothing may follow the end; a peer that tries is not heard
    const own = this.#compact(chunk);
    if (this.#consumer !== undefined) return this.#consumer.data(own);
    this.#held.push(own);
    this.#heldBytes += own.length + CHUNK_COST_BYTES;
    return this.#heldBytes < this.#highWaterMarkBytes;
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#consumer?.end();
    this.#onResume(); // nothing more will be pushed, and a consumer that was full asks for nothing after the end
  }

  consume(consumer: InputConsumer): void {
    if (this.#consumer !== undefined) return; // there is one consumer, and none once the input is discarded
    this.#consumer = consumer;
    const held = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    let wantsMore = true;
    for (const chunk of held) wantsMore = this.#consumer.data(chunk) && wantsMore; // it may discard in between
    if (this.#ended) this.#consumer.end();
    if (this.#ended || wantsMore) this.#onResume();
  }

  resume(): void {
    this.#onResume();
  }

  /** A peer that sends one byte of input among 64 KiB of other frames would else make us keep 64 KiB for each byte. */
  #compact(chunk: Buffer): Buffer {
    if (chunk.length * MAX_KEPT_RATIO >= chunk.buffer.byteLength) return chunk;
    if (this.#slab.length < chunk.length) this.#slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, chunk.length));
    chunk.copy(this.#slab);
    const own = this.#slab.subarray(0, chunk.length);
    this.#slab = this.#slab.subarray(chunk.length);
    return own;
  }

  discard(): void {
    this.#held = [];
    this.#heldBytes = 0;
    this.#consumer = { data: () => true, end: () => undefined };
    this.#onResume();
  }
}
