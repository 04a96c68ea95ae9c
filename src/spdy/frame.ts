/** The only version that is spoken; SPDY/3.1 carries 3 in its control frames. */
export const SPDY_VERSION = 3;

/** Bytes before the payload of every frame: a first word, flags, and a length of 24 bits. */
export const FRAME_HEADER_BYTES = 8;

/** `type` of the control frames. DATA has none: its first bit is 0. */
export const FRAME_TYPE = {
  SYN_STREAM: 1,
  SYN_REPLY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PING: 6,
  GOAWAY: 7,
  HEADERS: 8,
  WINDOW_UPDATE: 9,
} as const;

/** On SYN_STREAM, SYN_REPLY, HEADERS and DATA: the sender sends nothing more on this stream (half-close). */
export const FLAG_FIN = 0x01;
/** On SYN_STREAM: the receiver may not write to this stream. */
export const FLAG_UNIDIRECTIONAL = 0x02;

/** Status of RST_STREAM. Kubernetes itself sends CANCEL and PROTOCOL_ERROR only. */
export const RST_STATUS = {
  PROTOCOL_ERROR: 1,
  INVALID_STREAM: 2,
  REFUSED_STREAM: 3,
  UNSUPPORTED_VERSION: 4,
  CANCEL: 5,
  INTERNAL_ERROR: 6,
  FLOW_CONTROL_ERROR: 7,
  STREAM_IN_USE: 8,
  STREAM_ALREADY_CLOSED: 9,
  INVALID_CREDENTIALS: 10,
  FRAME_TOO_LARGE: 11,
} as const;

/** Status of GOAWAY. */
export const GOAWAY_STATUS = { OK: 0, PROTOCOL_ERROR: 1, INTERNAL_ERROR: 2 } as const;

/** Payload of a control frame that is held: a real one has a few dozen bytes. */
export const MAX_CONTROL_PAYLOAD_BYTES = 16 * 1024;
/** A header block after inflating. */
export const MAX_HEADER_BLOCK_BYTES = 16 * 1024;
/** Headers of one block; Kubernetes sends one for exec and three for port-forward. */
export const MAX_HEADERS = 16;
export const MAX_HEADER_NAME_BYTES = 64;
export const MAX_HEADER_VALUE_BYTES = 4 * 1024;
/** What we send in one DATA frame: real peers copy with buffers of 32 KiB, and never send more. */
export const MAX_DATA_PAYLOAD_BYTES = 32 * 1024;

/** `headerBlock` is as it was on the wire: compressed, and to be inflated in the order of arrival. */
export interface SynStreamFrame {
  readonly kind: 'SYN_STREAM';
  readonly streamId: number;
  readonly fin: boolean;
  readonly unidirectional: boolean;
  readonly headerBlock: Buffer;
}

export interface SynReplyFrame {
  readonly kind: 'SYN_REPLY';
  readonly streamId: number;
  readonly fin: boolean;
  readonly headerBlock: Buffer;
}

export interface HeadersFrame {
  readonly kind: 'HEADERS';
  readonly streamId: number;
  readonly fin: boolean;
  readonly headerBlock: Buffer;
}

export interface RstStreamFrame {
  readonly kind: 'RST_STREAM';
  readonly streamId: number;
  readonly status: number;
}

/** The id's parity tells whose question it is: clients count 1, 3, 5 …, servers 2, 4, 6 … */
export interface PingFrame {
  readonly kind: 'PING';
  readonly id: number;
}

export interface GoAwayFrame {
  readonly kind: 'GOAWAY';
  readonly lastGoodStreamId: number;
  readonly status: number;
}

/**
 * A control frame whose content means something to us.
 *
 * SETTINGS and WINDOW_UPDATE are missing: Go's spdystream, the peer in every Kubernetes client, neither sends nor honours
 * them, so they are stepped over. DATA is missing too: it is handed on in pieces, without an object for each.
 */
export type ControlFrame = SynStreamFrame | SynReplyFrame | HeadersFrame | RstStreamFrame | PingFrame | GoAwayFrame;
