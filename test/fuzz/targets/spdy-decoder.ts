import fc from 'fast-check';
import { CLIENT_PING } from '../../fixtures/spdy/vectors.ts';
import { controlFrame, dataFrame } from '../../support/spdy-client.ts';
import { decoded } from '../../unit/spdy/decoded.ts';
import { sameForEverySplit, type FuzzTarget } from '../target.ts';

const bytes = (maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map(array => Buffer.from(array));

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

/** Any bytes give frames or a SpdyError, and the same ones however they are cut. */
export const spdyDecoder: FuzzTarget = {
  name: 'spdy-decoder',
  sources: ['spdy/decoder.ts'],
  tokens: [
    ...[1, 2, 3, 4, 6, 7, 8, 9].map(type => controlFrame(type, 0, Buffer.from('0000000500000005', 'hex'))),
    Buffer.from(CLIENT_PING, 'hex'),
    Buffer.from('0000000101000000', 'hex'),
    Buffer.from('80030001', 'hex'),
    Buffer.from('00ffffff', 'hex'),
  ],
  nearlyRight: fc.array(frame, { maxLength: 12 }).map(frames => Buffer.concat(frames)),
  check: input => void sameForEverySplit(input, decoded),
};
