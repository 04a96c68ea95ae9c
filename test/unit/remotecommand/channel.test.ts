import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CHANNEL, decodeBase64, decodeBinary, messageHeader } from '../../../src/remotecommand/channel.ts';

test('CLOSE is two bytes and only known to v5', () => {
  const close = Buffer.from([255, 0]);
  assert.deepEqual(decodeBinary(close, { closeSignal: true }), { kind: 'close', channel: 0 });
  assert.deepEqual(decodeBinary(close, { closeSignal: false }), { kind: 'ignored' });
  for (const malformed of [[255], [255, 5], [255, 0, 0]]) {
    assert.equal(decodeBinary(Buffer.from(malformed), { closeSignal: true }).kind, 'malformed');
  }
});

test('empty messages and unknown channels are ignored, bad base64 is malformed', () => {
  assert.deepEqual(decodeBinary(Buffer.alloc(0), { closeSignal: true }), { kind: 'ignored' });
  assert.deepEqual(decodeBinary(Buffer.from([9, 1]), { closeSignal: true }), { kind: 'ignored' });
  assert.deepEqual(decodeBase64(Buffer.from('9aGk=')), { kind: 'ignored' });
  assert.equal(decodeBase64(Buffer.from('0!!!!')).kind, 'malformed');
});

test('a message may be sent as a header and its payload: an unmasked frame, whose length counts the channel', () => {
  assert.deepEqual([...messageHeader(CHANNEL.stdout, 0)], [0x82, 1, 1]);
  assert.deepEqual([...messageHeader(CHANNEL.stderr, 124)], [0x82, 125, 2]);
  assert.deepEqual([...messageHeader(CHANNEL.stdout, 125)], [0x82, 126, 0, 126, 1]);
  assert.deepEqual([...messageHeader(CHANNEL.error, 65_534)], [0x82, 126, 0xff, 0xff, 3]);
  assert.deepEqual([...messageHeader(CHANNEL.stdout, 65_535)], [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0, 1]);
});
