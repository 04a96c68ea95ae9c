import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  encodeDataHeader,
  encodeGoAway,
  encodePing,
  encodeRstStream,
  encodeSynReply,
} from '../../../src/spdy/encoder.ts';
import { EMPTY_HEADER_BLOCK, HeaderBlockStorer } from '../../../src/spdy/header-block.ts';
import * as vectors from '../../fixtures/spdy/vectors.ts';

test('frames are those of Go’s framer, byte for byte', () => {
  const status = Buffer.from('{"metadata":{},"status":"Success"}');
  assert.equal(
    Buffer.concat([encodeDataHeader(1, status.length, false), status]).toString('hex'),
    vectors.SERVER_DATA_STATUS,
  );
  assert.equal(encodeDataHeader(1, 0, true).toString('hex'), vectors.SERVER_DATA_FIN);
  assert.equal(encodeRstStream(5, 5).toString('hex'), vectors.RST_STREAM_5_CANCEL);
  assert.equal(encodeGoAway(9, 0).toString('hex'), vectors.GOAWAY_9_OK);
  assert.equal(encodePing(1).toString('hex'), vectors.CLIENT_PING);
});

test('replies are those that client-go and kubectl accept without a compressor', () => {
  const storer = new HeaderBlockStorer();
  assert.equal(encodeSynReply(1, storer.store(EMPTY_HEADER_BLOCK)).toString('hex'), vectors.STORED_SYN_REPLY_1);
  assert.equal(encodeSynReply(3, storer.store(EMPTY_HEADER_BLOCK)).toString('hex'), vectors.STORED_SYN_REPLY_3);
});

test('the largest ids and lengths keep their place', () => {
  assert.equal(encodeDataHeader(0x7fffffff, 0xffffff, true).toString('hex'), '7fffffff01ffffff');
  assert.equal(encodePing(0xffffffff).toString('hex'), '8003000600000004ffffffff');
});
