import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { constants, createDeflate, deflateSync, inflateSync, type Deflate } from 'node:zlib';
import { HEADER_DICTIONARY } from '../../../src/spdy/dictionary.ts';
import {
  EMPTY_HEADER_BLOCK,
  HeaderBlockInflater,
  HeaderBlockStorer,
  parseHeaderBlock,
} from '../../../src/spdy/header-block.ts';
import { CLIENT_SYN_STREAMS, ERROR_BLOCK, GO_SYN_REPLIES } from '../../fixtures/spdy/vectors.ts';
import { plainBlock, words } from '../../support/spdy-client.ts';

const BEFORE_SYN_STREAM_BLOCK = 18;
const BEFORE_SYN_REPLY_BLOCK = 12;
const syncFlush = { dictionary: HEADER_DICTIONARY, finishFlush: constants.Z_SYNC_FLUSH };

describe('HeaderBlockInflater', () => {
  test('inflates the blocks of client-go, each in the context of those before', () => {
    const inflater = new HeaderBlockInflater();
    for (const { hex, streamtype } of CLIENT_SYN_STREAMS) {
      const plain = inflater.inflate(Buffer.from(hex, 'hex').subarray(BEFORE_SYN_STREAM_BLOCK));
      assert.deepEqual(plain, plainBlock({ streamtype }));
      if (streamtype === 'error') assert.equal(plain.toString('hex'), ERROR_BLOCK);
    }
  });

  test('inflates the empty blocks of Go’s server', () => {
    const inflater = new HeaderBlockInflater();
    for (const { hex } of GO_SYN_REPLIES) {
      const plain = inflater.inflate(Buffer.from(hex, 'hex').subarray(BEFORE_SYN_REPLY_BLOCK));
      assert.deepEqual(plain, EMPTY_HEADER_BLOCK);
    }
  });

  test('a bomb is stopped at the limit, not when it is over', () => {
    const bomb = deflateSync(Buffer.alloc(14 * 1024 * 1024), syncFlush);
    assert.ok(bomb.length < 16 * 1024, 'it fits into a control frame');
    const before = process.memoryUsage().arrayBuffers;
    assert.throws(() => new HeaderBlockInflater().inflate(bomb), {
      name: 'SpdyError',
      scope: 'connection',
      message: /more than 16384 bytes/,
    });
    assert.ok(process.memoryUsage().arrayBuffers - before < 1024 * 1024, 'nearly nothing was inflated');
  });

  test('a block of exactly the limit passes, one byte more does not', () => {
    const block = (bytes: number): Buffer => deflateSync(Buffer.alloc(bytes, 'a'), syncFlush);
    assert.equal(new HeaderBlockInflater().inflate(block(16 * 1024)).length, 16 * 1024);
    assert.throws(() => new HeaderBlockInflater().inflate(block(16 * 1024 + 1)), { name: 'SpdyError' });
  });

  test('the limit counts for each block, not for all together', () => {
    const inflater = new HeaderBlockInflater({ maxBlockBytes: 100 });
    const storer = new HeaderBlockStorer();
    for (let count = 0; count < 10; count += 1) {
      assert.equal(inflater.inflate(storer.store(Buffer.alloc(100, count))).length, 100);
    }
  });

  test('what one connection has sent is nothing that the next can refer to', async () => {
    const text = randomBytes(2_000); // longer than the dictionary: a reference to it reaches beyond
    const deflate = createDeflate({ dictionary: HEADER_DICTIONARY });
    const [inFull, reference] = [await nextBlock(deflate, text), await nextBlock(deflate, text)];
    assert.ok(reference.length < 100);

    const first = new HeaderBlockInflater();
    assert.deepEqual([first.inflate(inFull), first.inflate(reference)], [text, text]);
    first.release();
    const second = new HeaderBlockInflater();
    second.inflate(new HeaderBlockStorer().store(EMPTY_HEADER_BLOCK));
    assert.throws(() => second.inflate(reference), { name: 'SpdyError', message: /distance too far back/ });
  });

  for (const [what, block] of [
    ['plain bytes', Buffer.from('streamtype=error')],
    ['a stream that ends', deflateSync(ERROR_BLOCK, { dictionary: HEADER_DICTIONARY })],
    ['another dictionary', deflateSync(ERROR_BLOCK, { ...syncFlush, dictionary: Buffer.from('another') })],
    ['gzip', Buffer.from('1f8b0800000000000003', 'hex')],
  ] as const) {
    test(`refuses ${what}`, () => {
      assert.throws(() => new HeaderBlockInflater().inflate(block), { name: 'SpdyError', scope: 'connection' });
    });
  }
});

describe('parseHeaderBlock', () => {
  test('reads several headers, and values with NUL as they are', () => {
    const headers = { streamtype: 'data', port: '8080', requestid: '0', several: 'a\0b', empty: '' };
    assert.deepEqual(Object.fromEntries(parseHeaderBlock(plainBlock(headers))), headers);
    assert.equal(parseHeaderBlock(EMPTY_HEADER_BLOCK).size, 0);
  });

  const many = (count: number): Record<string, string> =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`h${index}`, '']));

  test('takes what is just within the limits', () => {
    assert.equal(parseHeaderBlock(plainBlock(many(16))).size, 16);
    assert.equal(parseHeaderBlock(plainBlock({ ['n'.repeat(64)]: 'v'.repeat(4096) })).size, 1);
  });

  const twice = Buffer.concat([words(2), ...Array<Buffer>(2).fill(plainBlock({ port: '1' }).subarray(4))]);
  for (const [what, block] of [
    ['17 headers', plainBlock(many(17))],
    ['a name of 65 bytes', plainBlock({ ['n'.repeat(65)]: '' })],
    ['a value over 4 KiB', plainBlock({ n: 'v'.repeat(4097) })],
    ['an empty name', plainBlock({ '': 'v' })],
    ['upper case', plainBlock({ streamType: 'error' })],
    ['a duplicate', twice],
  ] as const) {
    test(`refuses ${what}, at the cost of one stream`, () => {
      assert.throws(() => parseHeaderBlock(block), { name: 'SpdyError', scope: 'stream', status: 1 });
    });
  }

  for (const [what, block] of [
    ['no block at all', Buffer.alloc(0)],
    ['half a count', Buffer.alloc(3)],
    ['a count of 1.8 billion', words(0x6a756e6b)],
    ['a count beyond the block', words(2, 0, 0)],
    ['a name longer than the block', words(1, 0xffffffff)],
    ['a value longer than the block', words(1, 0, 1)],
    ['a block that ends before the value', words(1, 0)],
    ['bytes behind the last header', Buffer.concat([plainBlock({ a: 'b' }), words(0)])],
  ] as const) {
    test(`refuses ${what}, at the cost of the connection`, () => {
      assert.throws(() => parseHeaderBlock(block), { name: 'SpdyError', scope: 'connection', status: 1 });
    });
  }
});

test('HeaderBlockStorer writes blocks that zlib and our inflater read one after the other', () => {
  const storer = new HeaderBlockStorer();
  const inflater = new HeaderBlockInflater();
  const plain = [EMPTY_HEADER_BLOCK, plainBlock({ a: 'b' }), Buffer.alloc(0), EMPTY_HEADER_BLOCK];
  const blocks = plain.map(block => storer.store(block));
  assert.deepEqual(inflateSync(Buffer.concat(blocks), syncFlush), Buffer.concat(plain));
  for (const [index, block] of blocks.entries()) assert.deepEqual(inflater.inflate(block), plain[index]);
});

async function nextBlock(deflate: Deflate, plain: Buffer): Promise<Buffer> {
  deflate.write(plain);
  await new Promise<void>(resolve => deflate.flush(constants.Z_SYNC_FLUSH, resolve));
  return deflate.read() as Buffer;
}
