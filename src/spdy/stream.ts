/** Receives what the peer sends on one stream. */
export interface StreamConsumer {
  /**
   * A part of a DATA payload; cuts mean nothing. False pauses the whole connection until `SpdyConnection.resume`; what has
   * already been read from the socket, at most 64 KiB, still follows.
   */
  data(chunk: Buffer): boolean;
  /** The peer sends nothing more on this stream. At most once. */
  end(): void;
  /** The peer has reset the stream. Where this is missing `end` is called instead: a reader in Go sees the same of both. */
  reset?(status: number): void;
}

/** One stream that the peer has opened. */
export interface SpdyStream {
  readonly id: number;
  /**
   * Takes the chunk whole, whatever it answers; the caller must not change it afterwards. False: write no more, on any
   * stream of the connection, until its `onDrain`. After the stream's or the connection's end it does nothing.
   */
  write(chunk: Buffer): boolean;
  /** Half-closes: an empty DATA frame with FIN, after all that was written. Idempotent. */
  end(): void;
  /** Ends both directions at once with RST_STREAM. Does nothing once both have ended. */
  reset(status: number): void;
  /** Names the consumer. To be called within `onStream`: what arrives while there is none is read and dropped. */
  consume(consumer: StreamConsumer): void;
}

/** What a stream asks of its connection. */
export interface StreamFrames {
  synReply(streamId: number): void;
  data(streamId: number, chunk: Buffer): boolean;
  fin(streamId: number): void;
  rstStream(streamId: number, status: number): void;
  /** Both directions have ended: the stream's slot is free. */
  closed(streamId: number): void;
}

const DISCARD: StreamConsumer = { data: () => true, end: () => undefined };

/** The connection's side of a stream: what has been replied, and which directions have ended. */
export class OpenStream implements SpdyStream {
  readonly id: number;
  readonly #frames: StreamFrames;
  #consumer = DISCARD;
  #replied = false;
  #localEnded: boolean;
  #remoteEnded = false;

  /** `unidirectional`: the peer allows no DATA from us. */
  constructor(options: { id: number; unidirectional: boolean; frames: StreamFrames }) {
    this.id = options.id;
    this.#localEnded = options.unidirectional;
    this.#frames = options.frames;
  }

  write(chunk: Buffer): boolean {
    // Empty DATA without FIN says nothing, and peers ignore it.
    if (this.#localEnded || chunk.length === 0) return true;
    this.reply();
    return this.#frames.data(this.id, chunk);
  }

  end(): void {
    if (this.#localEnded) return;
    this.reply();
    this.#localEnded = true;
    this.#frames.fin(this.id);
    this.#closeWhenDone();
  }

  reset(status: number): void {
    if (this.#closed) return;
    this.#frames.rstStream(this.id, status);
    this.#close();
  }

  consume(consumer: StreamConsumer): void {
    this.#consumer = consumer;
  }

  /** Accepts the stream. Go clients drop DATA that precedes the SYN_REPLY, so writing does this first. */
  reply(): void {
    if (this.#replied || this.#closed) return;
    this.#replied = true;
    this.#frames.synReply(this.id);
  }

  /** What the peer sent; after its FIN it is not heard. */
  receive(piece: Buffer, fin: boolean): boolean {
    if (this.#remoteEnded) return true;
    const wantsMore = piece.length === 0 || this.#consumer.data(piece);
    if (!fin) return wantsMore;
    this.receiveFin();
    return true; // whoever is full now is never asked to take more, so would never resume us
  }

  receiveFin(): void {
    if (this.#remoteEnded) return;
    this.#remoteEnded = true;
    this.#consumer.end();
    this.#closeWhenDone();
  }

  receiveReset(status: number): void {
    if (this.#closed) return;
    const ended = this.#remoteEnded;
    this.#close();
    if (this.#consumer.reset !== undefined) this.#consumer.reset(status);
    else if (!ended) this.#consumer.end();
  }

  get #closed(): boolean {
    return this.#localEnded && this.#remoteEnded;
  }

  #close(): void {
    this.#localEnded = true;
    this.#remoteEnded = true;
    this.#frames.closed(this.id);
  }

  #closeWhenDone(): void {
    if (this.#closed) this.#frames.closed(this.id);
  }
}
