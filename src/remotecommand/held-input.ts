import type { InputConsumer, InputSource } from '../exec/connection.ts';

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
  #ended = false;
  #consumer: InputConsumer | undefined;

  constructor(options: { highWaterMarkBytes: number; onResume: () => void }) {
    this.#highWaterMarkBytes = options.highWaterMarkBytes;
    this.#onResume = options.onResume;
  }

  push(chunk: Buffer): boolean {
    if (this.#ended || chunk.length === 0) return true; // nothing may follow the end; a peer that tries is not heard
    if (this.#consumer !== undefined) return this.#consumer.data(chunk);
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
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

  discard(): void {
    this.#held = [];
    this.#heldBytes = 0;
    this.#consumer = { data: () => true, end: () => undefined };
    this.#onResume();
  }
}
