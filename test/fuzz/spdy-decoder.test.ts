import assert from 'node:assert/strict';
import { test } from 'node:test';
import { constants, deflateSync } from 'node:zlib';
import fc from 'fast-check';
import { HEADER_DICTIONARY } from '../../src/spdy/dictionary.ts';
import { HeaderBlockInflater, parseHeaderBlock } from '../../src/spdy/header-block.ts';
import { SpdyError } from '../../src/spdy/spdy-error.ts';
import { controlFrame, dataFrame, plainBlock } from '../support/spdy-client.ts';
import { cut, decoded } from '../unit/spdy/decoded.ts';

const bytes = (maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map(array => Buffer.from(array));
const cuts = fc.array(fc.nat(), { maxLength: 12 });

/** Frames that are nearly right: real types, small lengths, ids that may be 0. */
const frame = fc.oneof(
  fc
    .tuple(
      fc.nat({ max: 11 }),
      fc.nat({ max: 3 }),
      fc.oneof(bytes(24), fc.constant(Buffer.from('0000000500000005', 'hex'))),
    )
    .map(([type, flags, payload]) => controlFrame(type, flags, payload)),
  fc.tuple(fc.nat({ max: 4 }), bytes(40), fc.boolean()).map(([id, payload, fin]) => dataFrame(id, payload, fin)),
);
const stream = fc.oneof(
  bytes(200),
  fc.array(frame, { maxLength: 12 }).map(frames => Buffer.concat(frames)),
);

test('any bytes give frames or a SpdyError, and the same ones however they are cut', () => {
  fc.assert(
    fc.property(stream, cuts, (written, places) => {
      assert.deepEqual(decoded(cut(written, places)), decoded([written]));
    }),
    { numRuns: 2000 },
  );
});

/** Runs and returns the SpdyError's message, or what came out. */
function outcome<T>(run: () => T): T | string {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof SpdyError)) throw error;
    return error.message;
  }
}

test('any inflated block gives headers or a SpdyError', () => {
  const block = fc.oneof(
    bytes(60),
    fc.dictionary(fc.string({ maxLength: 70 }), fc.string({ maxLength: 20 })).map(plainBlock),
  );
  fc.assert(
    fc.property(block, plain => void outcome(() => parseHeaderBlock(plain))),
    { numRuns: 2000 },
  );
});

test('any compressed block gives bytes or a SpdyError, also with one byte changed', () => {
  const compressed = bytes(200).map(plain =>
    deflateSync(plain, { dictionary: HEADER_DICTIONARY, finishFlush: constants.Z_SYNC_FLUSH }),
  );
  fc.assert(
    fc.property(
      fc.oneof(compressed, bytes(100)),
      bytes(40),
      fc.nat(),
      fc.nat({ max: 255 }),
      (first, second, at, value) => {
        const changed = Buffer.from(first);
        if (changed.length > 0) changed[at % changed.length] = value;
        const inflater = new HeaderBlockInflater();
        for (const block of [changed, second]) {
          const plain = outcome(() => inflater.inflate(block));
          if (typeof plain === 'string') break; // of no use afterwards
          assert.ok(plain.length <= 16 * 1024);
        }
      },
    ),
    { numRuns: 2000 },
  );
});

test('whatever headers zlib compresses are read back', () => {
  const name = fc.stringMatching(/^[a-z0-9-]{1,64}$/);
  const value = bytes(100).map(array => array.toString('latin1'));
  fc.assert(
    fc.property(fc.dictionary(name, value, { maxKeys: 16 }), headers => {
      const block = deflateSync(plainBlock(headers), {
        dictionary: HEADER_DICTIONARY,
        finishFlush: constants.Z_SYNC_FLUSH,
      });
      const read = parseHeaderBlock(new HeaderBlockInflater().inflate(block));
      assert.deepEqual([...read], Object.entries(headers));
    }),
    { numRuns: 500 },
  );
});
