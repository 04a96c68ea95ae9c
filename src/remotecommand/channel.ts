/** The channels of a remote command over WebSocket: the first byte of every message. */
export const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4 } as const;
export type Channel = (typeof CHANNEL)[keyof typeof CHANNEL];

/** v5 only adds the CLOSE signal: channel 255, then the number of the channel the sender will not write again. */
export const CLOSE_CHANNEL = 255;

const DIGIT_ZERO = 0x30;
/** The first byte of a frame that is a whole binary message. */
const FINAL_BINARY = 0x82;

/** What one message of the client means. */
export type ChannelMessage =
  | { readonly kind: 'data'; readonly channel: Channel; readonly payload: Buffer }
  | { readonly kind: 'close'; readonly channel: Channel }
  /** Empty messages, and channels that nobody serves: Kubernetes ignores them. */
  | { readonly kind: 'ignored' }
  | { readonly kind: 'malformed'; readonly why: string };

/** Reads one binary message; `closeSignal` says whether the subprotocol knows CLOSE (v5). */
export function decodeBinary(message: Buffer, { closeSignal }: { closeSignal: boolean }): ChannelMessage {
  const [first, second] = message;
  if (first === undefined) return { kind: 'ignored' };
  if (first === CLOSE_CHANNEL && closeSignal) {
    if (message.length !== 2 || !isChannel(second)) return { kind: 'malformed', why: 'malformed CLOSE signal' };
    return { kind: 'close', channel: second };
  }
  if (!isChannel(first)) return { kind: 'ignored' };
  return { kind: 'data', channel: first, payload: message.subarray(1) };
}

/** Reads one message of a base64 subprotocol: an ASCII digit, then standard base64. */
export function decodeBase64(message: Buffer): ChannelMessage {
  const [first] = message;
  if (first === undefined) return { kind: 'ignored' };
  const channel = first - DIGIT_ZERO;
  if (!isChannel(channel)) return { kind: 'ignored' };
  const text = message.toString('latin1', 1);
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text))
    return { kind: 'malformed', why: 'malformed base64' };
  return { kind: 'data', channel, payload: Buffer.from(text, 'base64') };
}

/** The message that carries a payload on a channel: channel byte, then the bytes. */
export function encodeBinary(channel: Channel, payload: Buffer): Buffer {
  const message = Buffer.allocUnsafe(1 + payload.length);
  message[0] = channel;
  payload.copy(message, 1);
  return message;
}

/**
 * What goes before the payload of an unmasked, unfragmented WebSocket message (RFC 6455, 5.2): the frame's header, then the channel
 * byte. So the payload itself need not be copied.
 */
export function messageHeader(channel: Channel, payloadBytes: number): Buffer {
  const length = 1 + payloadBytes;
  const lengthBytes = length < 126 ? 0 : length <= 0xffff ? 2 : 8;
  const header = Buffer.allocUnsafe(3 + lengthBytes);
  header[0] = FINAL_BINARY;
  if (lengthBytes === 0) {
    header[1] = length;
  } else if (lengthBytes === 2) {
    header[1] = 126;
    header.writeUInt16BE(length, 2);
  } else {
    header[1] = 127;
    header.writeUInt32BE(0, 2); // no chunk has 4 GiB
    header.writeUInt32BE(length, 6);
  }
  header[2 + lengthBytes] = channel;
  return header;
}

/** The message of a base64 subprotocol; to be sent as a text message. */
export function encodeBase64(channel: Channel, payload: Buffer): string {
  return `${channel}${payload.toString('base64')}`;
}

function isChannel(value: number | undefined): value is Channel {
  return value !== undefined && value >= CHANNEL.stdin && value <= CHANNEL.resize;
}
