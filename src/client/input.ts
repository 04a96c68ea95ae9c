import type { Readable } from 'node:stream';

/** Above this many unsent bytes the source is paused; it goes on below half of it. */
const HIGH_WATER_MARK_BYTES = 256 * 1024;
const LOW_WATER_MARK_BYTES = HIGH_WATER_MARK_BYTES / 2;

/** The part of a WebSocket that input needs. */
export interface InputSink {
  /** How many bytes wait for the peer to take them. */
  readonly bufferedAmount: number;
  /** `sent` is called when this piece has been handed to the operating system, or with an error. */
  send(piece: Buffer, sent: (error?: Error | null) => void): void;
  end(): void;
}

/** Sends a stream of this process as the command's stdin, no faster than the server takes it. */
export class Input {
  readonly #source: Readable;
  readonly #sink: InputSink;
  readonly #onError: (error: Error) => void;
  #waiting = false;

  constructor({ source, sink, onError }: { source: Readable; sink: InputSink; onError: (error: Error) => void }) {
    this.#source = source;
    this.#sink = sink;
    this.#onError = onError;
  }

  start(): void {
    this.#source.on('data', this.#send).on('end', this.#end).on('error', this.#onError);
  }

  /** Sends no more. The source is left paused, for its owner to close. */
  stop(): void {
    this.#waiting = false;
    this.#source.off('data', this.#send).off('end', this.#end).off('error', this.#onError);
    this.#source.on('error', () => undefined); // a read that is under way may still fail
    this.#source.pause();
  }

  readonly #send = (chunk: Buffer | string): void => {
    this.#sink.send(typeof chunk === 'string' ? Buffer.from(chunk) : chunk, this.#onSent);
    if (this.#sink.bufferedAmount <= HIGH_WATER_MARK_BYTES) return;
    this.#waiting = true;
    this.#source.pause();
  };

  readonly #onSent = (): void => {
    // A piece that could not be sent means that the connection is gone, and then its owner calls stop().
    if (!this.#waiting || this.#sink.bufferedAmount > LOW_WATER_MARK_BYTES) return;
    this.#waiting = false;
    this.#source.resume();
  };

  readonly #end = (): void => this.#sink.end();
}
