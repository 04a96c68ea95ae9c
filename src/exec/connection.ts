import type { EndReason, SessionEnded } from './end-reason.ts';
import type { ExecletError } from '../errors.ts';

/** A terminal's size in character cells, both at least 1. */
export interface TerminalSize {
  readonly width: number;
  readonly height: number;
}

/**
 * Where one output of the command goes. No more than a sink: every byte of every session passes here, and a Node stream
 * per output costs more than the relay itself.
 */
export interface OutputSink {
  /**
   * Takes the chunk whole, whatever it answers; the caller must not change it afterwards. False: write no more until the
   * connection calls the `onDrain` listener. Writing after the connection has closed is allowed and does nothing.
   */
  write(chunk: Buffer): boolean;
}

/** Receives the client's input. */
export interface InputConsumer {
  /**
   * False: read no more from the client until `resume()` is called on the source. The chunk has been taken all the same, and
   * what has already been read still follows.
   */
  data(chunk: Buffer): boolean;
  /** The client will send no more. Called at most once, after all data; never for subprotocols that know no end of input. */
  end(): void;
}

/** The client's input. Until `consume` is called it is held, up to the connection's high-water mark. */
export interface InputSource {
  /** Starts delivery to the one consumer, in order, also of what arrived before. */
  consume(consumer: InputConsumer): void;
  resume(): void;
  /** From now on input is read and dropped, so that a client that goes on sending still reads its output. Idempotent. */
  discard(): void;
}

/** The terminal sizes that the client reports. Only the newest counts: a size that nobody has consumed is replaced by the next. */
export interface ResizeSource {
  /** Calls back at once with the newest size where there is one, then with each that follows. */
  consume(listener: (size: TerminalSize) => void): void;
}

/** The streams of one remote command; one that is missing was not asked for. */
export interface ExecStreams {
  readonly stdin?: InputSource;
  readonly stdout?: OutputSink;
  /** Never present with a TTY. */
  readonly stderr?: OutputSink;
  readonly resize?: ResizeSource;
  /** The Engine has started the command. Called at most once, before any output. */
  started(): void;
  /**
   * The one listener that is called whenever nothing waits in memory any more after a sink has answered false: the kernel has
   * taken everything, or the connection has closed. Also after the session's end.
   */
  onDrain(listener: () => void): void;
}

/** How a session ended. A command's non-zero exit is an outcome like any other, not a failure of ours. */
export type ExecOutcome =
  | { readonly kind: 'exited'; readonly exitCode: number }
  | { readonly kind: 'failed'; readonly reason: Exclude<EndReason, 'exit'>; readonly error: ExecletError };

/** What a session needs from a client, whatever the transport. */
export interface RemoteCommandConnection {
  readonly transport: 'spdy' | 'websocket';
  /** The negotiated subprotocol as it was named on the wire, for example `v4.channel.k8s.io`; empty where none was. */
  readonly protocol: string;
  readonly streams: ExecStreams;
  /** Aborts when the peer is gone or broke the protocol, with a SessionEnded as its reason; after `finish` perhaps not any more. */
  readonly closed: AbortSignal & { readonly reason: SessionEnded | undefined };
  /**
   * Delivers what was written, then the status, ends the streams and closes. Resolves when the connection is closed,
   * also when the peer has left. Call it exactly once.
   */
  finish(outcome: ExecOutcome): Promise<void>;
  /** Closes at once, by a reset: what has not been delivered is lost, and the client is not to take that for a regular end. */
  destroy(): void;
}
