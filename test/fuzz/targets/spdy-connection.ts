import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { SpdyConnection } from '../../../src/spdy/connection.ts';
import { SpdyError } from '../../../src/spdy/spdy-error.ts';
import { splitsOf, type FuzzTarget } from '../target.ts';
import { spdyDecoder } from './spdy-decoder.ts';
import { spdyHeaders } from './spdy-headers.ts';

interface Exchange {
  /** What the connection wrote. */
  readonly answered: string;
  readonly streams: readonly string[];
  readonly closings: readonly string[];
}

async function exchange(chunks: readonly Buffer[]): Promise<Exchange> {
  let answered = '';
  const streams: string[] = [];
  const closings: string[] = [];
  const socket = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _, done) => {
      answered += chunk.toString('hex');
      done();
    },
  });
  const connection = new SpdyConnection({
    socket,
    maxStreams: 3,
    highWaterMarkBytes: 1024,
    onStream: stream => {
      const index = streams.push(`${stream.id}:`) - 1;
      const note = (what: string): void => void (streams[index] = `${streams[index] ?? ''}${what}`);
      stream.consume({
        data: chunk => {
          note(chunk.toString('hex'));
          return true;
        },
        end: () => note(' end'),
        reset: status => note(` reset ${status}`),
      });
      return stream.id % 16 !== 9;
    },
    onDrain: () => undefined,
    onPeerGoAway: () => streams.push('GOAWAY'),
    onPong: () => streams.push('PONG'),
    onClose: error => {
      assert.ok(error === undefined || error instanceof SpdyError);
      closings.push(String(error));
    },
  });
  connection.start(Buffer.alloc(0));
  for (const chunk of chunks) socket.push(chunk);
  await setImmediate();
  connection.destroy();
  await connection.whenClosed();
  return { answered, streams, closings };
}

/** Any bytes are answered in the same way however they are cut, and the connection closes exactly once. */
export const spdyConnection: FuzzTarget = {
  name: 'spdy-connection',
  sources: ['spdy/connection.ts', 'spdy/stream.ts'],
  tokens: [...spdyDecoder.tokens, ...spdyHeaders.tokens],
  check: async input => {
    const [first, ...others] = splitsOf(input.subarray(0, 2 * 1024));
    const whole = await exchange(first ?? []);
    assert.equal(whole.closings.length, 1);
    for (const chunks of others) assert.deepEqual(await exchange(chunks), whole);
  },
};
