import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { KeepaliveResult } from './keepalive-rule.ts';
import type { StreamProtocol } from './protocol.ts';
import type { VanishedHosts } from './vanished-hosts.ts';

/** The streams a client asked for. `stderr` is never true together with `tty`. */
export interface WantedStreams {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

/** The limits of one connection, and how its client is watched; times in milliseconds. */
export interface ConnectionLimits {
  /** Each direction of a session; past it the producer is paused. */
  readonly highWaterMarkBytes: number;
  /** Between the 101 and the last stream that the client promised; SPDY only. Kubernetes uses 30 000. */
  readonly streamCreationTimeoutMs: number;
  /** For the client to take what is still undelivered when the command has ended. */
  readonly deliveryTimeoutMs: number;
  /** For the peer to close once the kernel has taken everything. */
  readonly closeTimeoutMs: number;
  /** Between two pings of a client. */
  readonly keepaliveIntervalMs: number;
  /** Told of each ping's result. */
  readonly onKeepalive: (result: KeepaliveResult) => void;
  /** One for all connections. */
  readonly vanishedHosts: VanishedHosts;
}

/** An upgrade that has passed every check and is now to be answered with a 101. */
export interface Acceptance {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  /** What the client sent behind its request. */
  readonly head: Buffer;
  readonly protocol: StreamProtocol;
  readonly wanted: WantedStreams;
  readonly limits: ConnectionLimits;
  /** Named in what the client is told of a failure. */
  readonly session: string;
  /** Aborts with a SessionEnded as its reason when the session is ended: its client's streams are not waited for then. */
  readonly ending: AbortSignal;
}
