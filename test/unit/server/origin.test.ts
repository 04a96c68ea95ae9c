import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkOrigin } from '../../../src/server/origin.ts';

test('a loopback Host without Origin may ask', () => {
  for (const host of ['127.0.0.1:10350', '127.9.9.9', 'localhost:1', 'LOCALHOST', '[::1]:10350', '[::1]']) {
    checkOrigin({ host });
  }
});

test('any other Host, and every Origin, is refused', () => {
  for (const host of [
    undefined,
    '',
    'evil.example:10350',
    '10.0.0.1',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    '[::2]',
  ]) {
    assert.throws(() => checkOrigin({ host }), { httpStatus: 403 }, String(host));
  }
  assert.throws(() => checkOrigin({ host: 'localhost', origin: 'http://localhost' }), { httpStatus: 403 });
});
