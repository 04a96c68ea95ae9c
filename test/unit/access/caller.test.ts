import assert from 'node:assert/strict';
import { test } from 'node:test';
import { groupsOf } from '../../../src/access/caller.ts';

test('whoever has been authenticated is in the group of those, once', () => {
  assert.deepEqual(groupsOf('alice', ['dev', 'dev']), ['dev', 'system:authenticated']);
  assert.deepEqual(groupsOf('alice', ['system:authenticated']), ['system:authenticated']);
  assert.deepEqual(groupsOf('alice', []), ['system:authenticated']);
});

test('an anonymous caller whom somebody vouches for stays one', () => {
  assert.deepEqual(groupsOf('system:anonymous', []), ['system:unauthenticated']);
  assert.deepEqual(groupsOf('system:anonymous', ['system:unauthenticated']), ['system:unauthenticated']);
  assert.deepEqual(groupsOf('alice', ['dev', 'system:unauthenticated']), ['dev', 'system:unauthenticated']);
});
