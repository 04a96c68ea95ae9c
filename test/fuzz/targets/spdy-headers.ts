import assert from 'node:assert/strict';
import { constants, deflateSync, inflateSync } from 'node:zlib';
import fc from 'fast-check';
import { FrameDecoder } from '../../../src/spdy/decoder.ts';
import { HEADER_DICTIONARY } from '../../../src/spdy/dictionary.ts';
import { MAX_HEADER_BLOCK_BYTES } from '../../../src/spdy/frame.ts';
import { HeaderBlockInflater, parseHeaderBlock } from '../../../src/spdy/header-block.ts';
import { SpdyError } from '../../../src/spdy/spdy-error.ts';
import { controlFrame, plainBlock, words } from '../../support/spdy-client.ts';
import { outcomeOf, type FuzzTarget } from '../target.ts';

const syncFlush = { dictionary: HEADER_DICTIONARY, finishFlush: constants.Z_SYNC_FLUSH };

/** A block of plain bytes gives the headers that it spells, or a SpdyError. */
function checkPlain(plain: Buffer): void {
  const parsed = outcomeOf(() => parseHeaderBlock(plain), SpdyError);
  if ('error' in parsed) return;
  const written = [...parsed.value]
    .flat()
    .map(text => Buffer.concat([words(text.length), Buffer.from(text, 'latin1')]));
  assert.deepEqual(Buffer.concat([words(parsed.value.size), ...written]), plain, 'the headers say what the block says');
  for (const name of parsed.value.keys()) assert.match(name, /^[^A-Z]{1,64}$/s);
}

/** An inflated header block, by itself. */
export const headerBlock: FuzzTarget = {
  name: 'spdy-header-block',
  sources: ['spdy/header-block.ts'],
  tokens: [words(0), words(1), words(2), words(17), words(10), words(5), 'streamtype', 'error', '\0', 'A'],
  nearlyRight: fc
    .tuple(
      fc.dictionary(fc.string({ unit: 'binary-ascii', maxLength: 70 }), fc.string({ maxLength: 20 }), { maxKeys: 20 }),
      fc.constantFrom('', '\0', 'x'),
      fc.constantFrom(0, 0, 1, 3, 9),
    )
    .map(([headers, rest, missing]) => {
      const block = plainBlock(headers);
      return Buffer.concat([block.subarray(0, block.length - missing), Buffer.from(rest)]);
    }),
  check: checkPlain,
};

/** The header blocks of a connection: frames of it are decoded, and their blocks inflated one after the other and read. */
export const spdyHeaders: FuzzTarget = {
  name: 'spdy-headers',
  sources: ['spdy/header-block.ts', 'spdy/decoder.ts'],
  tokens: [
    '\x78\xf9\xe3\xc6\xa7\xc2',
    Buffer.from('000000ffff', 'hex'),
    Buffer.from('62606060', 'hex'),
    Buffer.from('000400fbff', 'hex'),
    Buffer.from('0300', 'hex'),
  ],
  nearlyRight: fc
    .array(
      fc.tuple(
        fc.oneof(
          { arbitrary: fc.uint8Array({ maxLength: 200 }), weight: 9 },
          fc.constant(Buffer.alloc(MAX_HEADER_BLOCK_BYTES + 1)),
        ),
        fc.nat(),
        fc.option(fc.nat({ max: 255 }), { freq: 3, nil: undefined }),
      ),
      { maxLength: 4 },
    )
    .map(blocks => {
      const frames = blocks.map(([plain, at, value], index) => {
        const block = deflateSync(plain, syncFlush).subarray(index === 0 ? 0 : 6); // one zlib stream has one header
        if (value !== undefined) block[at % block.length] = value;
        return controlFrame(1, 0, Buffer.concat([words(2 * index + 1, 0), Buffer.alloc(2), block]));
      });
      return Buffer.concat(frames);
    }),
  check: input => {
    const blocks: Buffer[] = [];
    const inflater = new HeaderBlockInflater();
    const inflated: Buffer[] = [];
    const decoder = new FrameDecoder({
      control: frame => {
        if (!('headerBlock' in frame)) return;
        const plain = inflater.inflate(frame.headerBlock);
        assert.ok(plain.length <= MAX_HEADER_BLOCK_BYTES);
        blocks.push(Buffer.from(frame.headerBlock));
        inflated.push(plain);
        checkPlain(plain);
      },
      data: () => undefined,
    });
    outcomeOf(() => decoder.push(input), SpdyError);
    if (blocks.length === 0) return;
    assert.deepEqual(
      Buffer.concat(inflated),
      inflateSync(Buffer.concat(blocks), syncFlush),
      'what was taken for blocks of the stream is what zlib makes of it',
    );
  },
};
