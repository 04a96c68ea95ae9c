import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import { SpdyConnection } from '../../../src/spdy/connection.ts';
import { encodePing, encodeRstStream } from '../../../src/spdy/encoder.ts';
import { HeaderBlockStorer } from '../../../src/spdy/header-block.ts';
import { SpdyError } from '../../../src/spdy/spdy-error.ts';
import { controlFrame, dataFrame, plainBlock, words } from '../../support/spdy-client.ts';
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
  await setImmediate(); // from here on a push is heard at once, so what is thrown comes out of it
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
  nearlyRight: fc
    .array(fc.tuple(fc.constantFrom('open', 'open', 'data', 'fin', 'reset', 'ping'), fc.nat({ max: 9 })), {
      maxLength: 10,
    })
    .map(steps => {
      const storer = new HeaderBlockStorer();
      const frames = steps.map(([step, id]) => {
        switch (step) {
          case 'open': {
            const block = storer.store(plainBlock({ streamtype: step }));
            return controlFrame(1, id % 4 === 3 ? 1 : 0, Buffer.concat([words(id, 0), Buffer.alloc(2), block]));
          }
          case 'reset':
            return encodeRstStream(id, 5);
          case 'ping':
            return encodePing(id);
          default:
            return dataFrame(id, Buffer.from(step), step === 'fin');
        }
      });
      return Buffer.concat(frames);
    }),
  check: async input => {
    const [first, ...others] = splitsOf(input.subarray(0, 2 * 1024));
    const whole = await exchange(first ?? []);
    assert.equal(whole.closings.length, 1);
    const ids = whole.streams.filter(text => /^\d/.test(text)).map(text => Number.parseInt(text, 10));
    assert.ok(
      ids.every((id, index) => id > (ids[index - 1] ?? 0)),
      'ids grow',
    );
    for (const chunks of others) assert.deepEqual(await exchange(chunks), whole);
  },
};
