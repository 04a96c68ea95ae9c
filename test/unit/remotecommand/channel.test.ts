import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CHANNEL, decodeBase64, decodeBinary, encodeBase64, encodeBinary } from '../../../src/remotecommand/channel.ts';

test('what is encoded is decoded to the same, in both forms', () => {
  fc.assert(
    fc.property(fc.constantFrom(...Object.values(CHANNEL)), fc.uint8Array({ maxLength: 100 }), (channel, bytes) => {
      const payload = Buffer.from(bytes);
      const expected = { kind: 'data', channel, payload };
      assert.deepEqual(decodeBinary(encodeBinary(channel, payload), { closeSignal: true }), expected);
      assert.deepEqual(decodeBase64(Buffer.from(encodeBase64(channel, payload))), expected);
    }),
  );
});

test('any bytes decode to something, never to an exception', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 20 }), bytes => {
      decodeBinary(Buffer.from(bytes), { closeSignal: true });
      decodeBase64(Buffer.from(bytes));
    }),
  );
});

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
