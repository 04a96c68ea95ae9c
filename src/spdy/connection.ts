import type { Duplex } from 'node:stream';
import { TickCork } from '../tick-cork.ts';
import { FrameDecoder } from './decoder.ts';
import { encodeDataHeader, encodeGoAway, encodePing, encodeRstStream, encodeSynReply } from './encoder.ts';
import { GOAWAY_STATUS, MAX_DATA_PAYLOAD_BYTES, RST_STATUS, type ControlFrame, type SynStreamFrame } from './frame.ts';
import { EMPTY_HEADER_BLOCK, HeaderBlockInflater, HeaderBlockStorer, parseHeaderBlock } from './header-block.ts';
import { SpdyError } from './spdy-error.ts';
import { OpenStream, type SpdyStream, type StreamFrames } from './stream.ts';

/** Answers that the kernel has not taken; past it we stop reading a peer that asks and does not listen. */
const MAX_UNSENT_ANSWER_BYTES = 16 * 1024;
/** SYN_STREAMs, and header blocks that nobody asked for, before the peer counts as hostile: each may take a while to inflate. */
const MAX_REFUSED = 1_000;
/** For the GOAWAY to reach a peer that broke the protocol. */
const DESTROY_AFTER_VIOLATION_MS = 1_000;
/** Then they begin again. */
const MAX_PINGS = 0x7fff_ffff;

export interface SpdyConnectionOptions {
  /** A net.Socket or tls.TLSSocket after the HTTP upgrade. The connection owns it from here on. */
  readonly socket: Duplex;
  /** Open at the same time; more are refused. */
  readonly maxStreams: number;
  /** `write` answers false once this much waits in the socket, or what the socket itself allows where that is more. */
  readonly highWaterMarkBytes: number;
  /**
   * Called for each stream the peer opens, with its headers: names in lower case, several values of one name joined by NUL. True
   * accepts it; false refuses it with RST_STREAM.
   */
  readonly onStream: (stream: SpdyStream, headers: ReadonlyMap<string, string>) => boolean;
  /** Writing may go on, after a `write` has answered false. */
  readonly onDrain: () => void;
  /** The peer said GOAWAY: it wants nothing more. Go clients stop reading frames, then close. */
  readonly onPeerGoAway: () => void;
  /** The answer to the `ping` of that number. */
  readonly onPong?: (ping: number) => void;
  /**
   * Called exactly once, when nothing more can be exchanged: with a SpdyError for a violation by the peer (the GOAWAY has
   * been written), with the socket's error, or with nothing when either side has closed.
   */
  readonly onClose: (error: Error | undefined) => void;
}

/**
 * The server's side of one SPDY/3.1 connection.
 *
 * There is no flow control: Go's spdystream neither sends nor honours WINDOW_UPDATE. Backpressure is the socket's own, in
 * both directions, and therefore common to all streams. The peer's FIN on the transport is a disconnect; it is not seen
 * while reading is paused.
 */
export class SpdyConnection {
  readonly #options: SpdyConnectionOptions;
  readonly #socket: Duplex;
  readonly #cork: TickCork;
  readonly #decoder: FrameDecoder;
  readonly #storer = new HeaderBlockStorer();
  readonly #frames: StreamFrames;
  /** Undefined once no stream may be opened any more. */
  #inflater: HeaderBlockInflater | undefined = new HeaderBlockInflater();
  /**
   * Streams with a direction that has not ended. All others are known by the highest id only, and frames for them are
   * ignored: they may have been on their way when the stream ended.
   */
  readonly #streams = new Map<number, OpenStream>();
  #highestId = 0;
  #refused = 0;
  #goneAway = false;
  #peerGoneAway = false;

  #pausedByOwner = false;
  #unsentAnswerBytes = 0;
  #writeBlocked = false;

  /** Nothing more is exchanged; the socket may linger until the last bytes are out. */
  #over = false;
  #socketError: Error | undefined;
  #violationTimer: NodeJS.Timeout | undefined;
  readonly #socketClosed = Promise.withResolvers<undefined>();

  /** Nothing is read before `start`, but the socket's errors are taken care of from here on. */
  constructor(options: SpdyConnectionOptions) {
    this.#options = options;
    this.#socket = options.socket;
    this.#cork = new TickCork(options.socket);
    this.#decoder = new FrameDecoder({
      control: frame => this.#control(frame),
      data: (streamId, piece, fin) => this.#data(streamId, piece, fin),
    });
    this.#frames = {
      synReply: id => this.#answer(encodeSynReply(id, this.#storer.store(EMPTY_HEADER_BLOCK))),
      data: (id, chunk) => this.#writeData(id, chunk),
      fin: id => this.#write(encodeDataHeader(id, 0, true)),
      rstStream: (id, status) => this.#answer(encodeRstStream(id, status)),
      closed: id => this.#streams.delete(id),
    };
    this.#socket.on('error', error => {
      this.#socketError ??= error;
    });
    this.#socket.once('close', () => this.#onSocketClose());
    this.#socket.on('drain', () => this.#onSocketDrain());
  }

  /** Starts reading, with `head`: what the peer sent behind its upgrade request. */
  start(head: Buffer): void {
    this.#receive(head);
    this.#socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    this.#socket.once('end', () => this.destroy());
    this.#readOrPause();
    // What has already happened to the socket is not told again.
    if (this.#socket.closed) this.#onSocketClose();
    else if (this.#socket.readableEnded) this.destroy();
  }

  /** Stops reading until `resume`, for all streams, PINGs and the peer's close. */
  pause(): void {
    this.#pausedByOwner = true;
    this.#readOrPause();
  }

  resume(): void {
    this.#pausedByOwner = false;
    this.#readOrPause();
  }

  /** Asks the peer for a sign of life; the caller counts: 1, 2, 3 … False when it would not be heard any more. */
  ping(ping: number): boolean {
    if (this.#goneAway || !this.#writable) return false;
    this.#write(encodePing((((ping - 1) % MAX_PINGS) + 1) * 2)); // even ids are the server's
    return true;
  }

  /**
   * Says once that no further stream is accepted. Go clients ignore everything that follows it, so nothing that matters may
   * be written after it.
   */
  goAway(status: number = GOAWAY_STATUS.OK): void {
    if (this.#goneAway) return;
    this.#goneAway = true;
    this.#write(encodeGoAway(this.#highestId, status));
  }

  /** Closes our direction of the transport behind all that was written, and goes on reading. */
  end(): void {
    this.#socket.end();
  }

  /** Closes at once; what the kernel has not taken is lost. */
  destroy(): void {
    this.#socket.destroy();
  }

  /** Resolves when the socket itself has closed. */
  whenClosed(): Promise<void> {
    return this.#socketClosed.promise;
  }

  /** True once `onClose` has been called. */
  get closed(): boolean {
    return this.#over;
  }

  /** Frees the inflater, about 40 KiB. From here on every new stream is refused, unread. */
  releaseInflater(): void {
    this.#inflater?.release();
    this.#inflater = undefined;
  }

  #receive(chunk: Buffer): void {
    if (this.#over) return;
    try {
      this.#decoder.push(chunk);
    } catch (error) {
      if (!(error instanceof SpdyError)) throw error;
      this.#violated(error);
    }
  }

  #control(frame: ControlFrame): void {
    if (this.#over || this.#socket.destroyed) return; // the owner may end us between two frames of one chunk
    switch (frame.kind) {
      case 'SYN_STREAM':
        this.#synStream(frame);
        break;
      case 'RST_STREAM':
        this.#streams.get(frame.streamId)?.receiveReset(frame.status);
        break;
      case 'PING':
        if (frame.id % 2 === 1) this.#answer(encodePing(frame.id));
        else this.#options.onPong?.(frame.id / 2);
        break;
      case 'GOAWAY':
        if (!this.#peerGoneAway) this.#options.onPeerGoAway();
        this.#peerGoneAway = true;
        break;
      case 'SYN_REPLY':
      case 'HEADERS':
        // Nobody sends them to a server, but if someone does, later blocks refer back to theirs.
        if (this.#inflater !== undefined) {
          this.#countRefused();
          this.#inflater.inflate(frame.headerBlock);
        }
        if (frame.fin) this.#streams.get(frame.streamId)?.receiveFin();
    }
  }

  #synStream({ streamId, fin, unidirectional, headerBlock }: SynStreamFrame): void {
    // Before anything else, even for a stream that will be refused: the next block continues this one's zlib stream.
    const block = this.#inflater?.inflate(headerBlock);
    const headers = this.#admit(streamId, block);
    if (typeof headers === 'number') {
      this.#countRefused();
      this.#answer(encodeRstStream(streamId, headers));
      return;
    }
    const stream = new OpenStream({ id: streamId, unidirectional, frames: this.#frames });
    this.#streams.set(streamId, stream);
    if (!this.#options.onStream(stream, headers)) {
      this.#countRefused();
      stream.reset(RST_STATUS.REFUSED_STREAM);
      return;
    }
    stream.reply();
    if (fin) stream.receiveFin();
  }

  /** The headers of a new stream, or the status with which it is refused. */
  #admit(id: number, block: Buffer | undefined): ReadonlyMap<string, string> | number {
    // Like Go's server we ask that ids grow and not that they be odd.
    if (id <= this.#highestId) return RST_STATUS.PROTOCOL_ERROR;
    this.#highestId = id;
    if (block === undefined || this.#goneAway || this.#streams.size >= this.#options.maxStreams) {
      return RST_STATUS.REFUSED_STREAM;
    }
    try {
      return parseHeaderBlock(block);
    } catch (error) {
      if (error instanceof SpdyError && error.scope === 'stream') return error.status;
      throw error;
    }
  }

  #countRefused(): void {
    this.#refused += 1;
    if (this.#refused > MAX_REFUSED) {
      throw new SpdyError('connection', `more than ${MAX_REFUSED} header blocks or streams had to be refused`);
    }
  }

  #data(streamId: number, piece: Buffer, fin: boolean): void {
    if (this.#over || this.#socket.destroyed) return;
    if (this.#streams.get(streamId)?.receive(piece, fin) === false) this.pause();
  }

  /** Header and payload leave in one system call, with everything else that is written in this tick. */
  #writeData(streamId: number, chunk: Buffer): boolean {
    if (!this.#writable) return true;
    this.#cork.cork();
    for (let offset = 0; offset < chunk.length; offset += MAX_DATA_PAYLOAD_BYTES) {
      const payload = chunk.subarray(offset, offset + MAX_DATA_PAYLOAD_BYTES);
      this.#socket.write(encodeDataHeader(streamId, payload.length, false));
      this.#socket.write(payload);
    }
    // The socket promises 'drain' only past its own mark: without that promise "false" would never be taken back.
    const blocked = this.#socket.writableLength >= this.#options.highWaterMarkBytes && this.#socket.writableNeedDrain;
    this.#writeBlocked ||= blocked;
    return !blocked;
  }

  #write(frame: Buffer): void {
    if (!this.#writable) return;
    this.#cork.cork();
    this.#socket.write(frame);
  }

  /** Writes what the peer has provoked, and stops reading when it provokes more than it takes. */
  #answer(frame: Buffer): void {
    if (!this.#writable) return;
    this.#cork.cork();
    this.#unsentAnswerBytes += frame.length;
    this.#socket.write(frame, () => {
      this.#unsentAnswerBytes -= frame.length;
      this.#readOrPause();
    });
    this.#readOrPause();
  }

  get #writable(): boolean {
    return !this.#over && this.#socket.writable;
  }

  #readOrPause(): void {
    // A peer that broke the protocol is read too, and not heard: unread bytes would cost it our GOAWAY.
    const paused = !this.#over && (this.#pausedByOwner || this.#unsentAnswerBytes > MAX_UNSENT_ANSWER_BYTES);
    if (paused === this.#socket.isPaused()) return;
    if (paused) this.#socket.pause();
    else this.#socket.resume();
  }

  #onSocketDrain(): void {
    if (!this.#writeBlocked || this.#over) return;
    this.#writeBlocked = false;
    this.#options.onDrain();
  }

  #violated(error: SpdyError): void {
    this.goAway(error.status);
    this.#socket.end();
    this.#violationTimer = setTimeout(() => this.destroy(), DESTROY_AFTER_VIOLATION_MS);
    this.#finish(error);
    this.#readOrPause();
  }

  #onSocketClose(): void {
    clearTimeout(this.#violationTimer);
    this.#finish(this.#socketError);
    this.#socketClosed.resolve(undefined);
  }

  #finish(error: Error | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.releaseInflater();
    this.#streams.clear();
    this.#options.onClose(error);
  }
}
