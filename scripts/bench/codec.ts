import { StdcopyDemultiplexer } from '../../src/docker/stdcopy.ts';
import { FrameDecoder } from '../../src/spdy/decoder.ts';
import { encodeDataHeader } from '../../src/spdy/encoder.ts';
import type { Metrics } from './results.ts';

/** As much as Node reads from a socket at once. */
const CHUNK_BYTES = 64 * 1024;
const STREAM_BYTES = 8 * 1024 * 1024;
const RUN_MS = 300;

/** The decoder and the demultiplexer alone, in this process: a stream of such frames, in chunks as a socket gives them. */
export function measureCodec(of: 'SPDY decoder' | 'stdcopy demultiplexer', payloadBytes: number): Metrics {
  const payload = Buffer.alloc(payloadBytes);
  const header = of === 'SPDY decoder' ? encodeDataHeader(1, payloadBytes, false) : stdcopyHeader(payloadBytes);
  const frames = Math.ceil(STREAM_BYTES / (header.length + payloadBytes));
  const stream = Buffer.concat(Array.from({ length: frames }, () => [header, payload]).flat());
  let bytes = 0;
  const count = (piece: Buffer): void => void (bytes += piece.length);
  const reader =
    of === 'SPDY decoder'
      ? new FrameDecoder({ control: () => undefined, data: (_id, piece) => count(piece) })
      : new StdcopyDemultiplexer((_stream, piece) => count(piece));
  const beganAt = performance.now();
  let streams = 0;
  do {
    for (let offset = 0; offset < stream.length; offset += CHUNK_BYTES) {
      reader.push(stream.subarray(offset, offset + CHUNK_BYTES));
    }
    streams += 1;
  } while (performance.now() - beganAt < RUN_MS);
  if (bytes !== streams * frames * payloadBytes) throw new Error(`${of}: ${bytes} bytes came out`);
  return { mbPerSecond: bytes / 1_000 / (performance.now() - beganAt) };
}

function stdcopyHeader(payloadBytes: number): Buffer {
  const header = Buffer.alloc(8);
  header[0] = 1;
  header.writeUInt32BE(payloadBytes, 4);
  return header;
}
