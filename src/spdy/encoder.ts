import { FLAG_FIN, FRAME_HEADER_BYTES, FRAME_TYPE, SPDY_VERSION } from './frame.ts';

// What a server sends: these four control frames and DATA. Each control frame is one buffer, to be written in one call.

/** The header that goes before a DATA payload of `length` bytes, so that the payload itself need not be copied. */
export function encodeDataHeader(streamId: number, length: number, fin: boolean): Buffer {
  const header = Buffer.allocUnsafe(FRAME_HEADER_BYTES);
  header.writeUInt32BE(streamId, 0);
  header.writeUInt32BE((fin ? FLAG_FIN << 24 : 0) + length, 4);
  return header;
}

/** `headerBlock` comes from the connection's HeaderBlockStorer: its order is that of the replies. */
export function encodeSynReply(streamId: number, headerBlock: Buffer): Buffer {
  const frame = controlFrame(FRAME_TYPE.SYN_REPLY, 4 + headerBlock.length);
  frame.writeUInt32BE(streamId, FRAME_HEADER_BYTES);
  headerBlock.copy(frame, FRAME_HEADER_BYTES + 4);
  return frame;
}

export function encodeRstStream(streamId: number, status: number): Buffer {
  return encodeWords(FRAME_TYPE.RST_STREAM, streamId, status);
}

export function encodePing(id: number): Buffer {
  return encodeWords(FRAME_TYPE.PING, id);
}

export function encodeGoAway(lastGoodStreamId: number, status: number): Buffer {
  return encodeWords(FRAME_TYPE.GOAWAY, lastGoodStreamId, status);
}

function encodeWords(type: number, ...words: readonly number[]): Buffer {
  const frame = controlFrame(type, 4 * words.length);
  words.forEach((word, index) => frame.writeUInt32BE(word, FRAME_HEADER_BYTES + 4 * index));
  return frame;
}

function controlFrame(type: number, payloadBytes: number): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + payloadBytes);
  frame.writeUInt16BE(0x8000 | SPDY_VERSION, 0);
  frame.writeUInt16BE(type, 2);
  frame.writeUInt32BE(payloadBytes, 4); // the flags, in the top byte, are 0
  return frame;
}
