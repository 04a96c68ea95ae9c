import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { HEADER_DICTIONARY } from '../../../src/spdy/dictionary.ts';

test('the dictionary is the SPDY/3 draft’s, byte for byte', () => {
  assert.equal(HEADER_DICTIONARY.length, 1423);
  assert.equal(
    createHash('sha256').update(HEADER_DICTIONARY).digest('hex'),
    '51d27341373f923f3cd88e1eb7162aeaa3723d7585ff2399201dc06498407f02',
  );
});
