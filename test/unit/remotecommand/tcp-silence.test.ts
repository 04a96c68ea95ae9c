import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TcpSilence } from '../../../src/remotecommand/tcp-silence.ts';

/** At which of the looks the host counts as gone, from 1; 0 for never. */
function goneAt(...counts: readonly (number | undefined)[]): number {
  const silence = new TcpSilence();
  return counts.findIndex(count => silence.look(count)) + 1;
}

test('packets that are sent again and again for three intervals mean that the host is gone', () => {
  assert.equal(goneAt(5, 6, 7, 8, 8), 4);
  assert.equal(goneAt(0, 0, 5, 6, 7, 8), 6);
});

test('a peer that answers each probe is there for ever', () => {
  assert.equal(goneAt(...Array<number>(1_000).fill(0)), 0);
});

test('a count that has fallen tells of an answer: the intervals begin anew', () => {
  assert.equal(goneAt(5, 6, 7, 2, 3, 4, 5), 7);
  assert.equal(goneAt(5, 6, 7, 0, 3, 4, 5, 6), 8);
});

test('a count that stands still is no evidence until it rises', () => {
  assert.equal(goneAt(...Array<number>(1_000).fill(4)), 0);
  assert.equal(goneAt(4, 4, 4, 4, 4, 5), 6);
});

test('one or two lost probes are none either, however far apart', () => {
  assert.equal(goneAt(1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 0), 0);
  assert.equal(goneAt(1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3), 13);
});

test('where the kernel does not say, nothing is counted', () => {
  assert.equal(goneAt(undefined, 5, 6, undefined, 7, 8, 9), 0);
});
