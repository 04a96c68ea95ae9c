import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StartFailureGuard, tellsOfContainerEnd } from '../../../src/docker/start-failure.ts';

function guarded(): { guard: StartFailureGuard; client: () => string; suspicions: () => number } {
  let text = '';
  let count = 0;
  const guard = new StartFailureGuard({
    client: {
      write: chunk => {
        text += chunk.toString();
        return true;
      },
    },
    onSuspicion: () => (count += 1),
  });
  return { guard, client: () => text, suspicions: () => count };
}

test('ordinary output passes at once', () => {
  const { guard, client, suspicions } = guarded();
  guard.write(Buffer.from('hi\n'));
  assert.equal(client(), 'hi\n');
  assert.equal(suspicions(), 0);
  assert.equal(guard.suspected, false);
});

test("the runtime's message is held back whole, also in pieces, and asks once whether the command runs", () => {
  const { guard, client, suspicions } = guarded();
  for (const piece of ['O', 'CI runtime exec failed', ': exec failed: nope\r\n']) guard.write(Buffer.from(piece));
  assert.equal(client(), '');
  assert.equal(suspicions(), 1);
  assert.equal(guard.text, 'OCI runtime exec failed: exec failed: nope');
});

test('the message for a container that stopped in between is held back as well', () => {
  const { guard, client } = guarded();
  for (const piece of ['can', 'not exec in a ', 'stopped state: unknown\r\n']) guard.write(Buffer.from(piece));
  assert.equal(client(), '');
  assert.equal(guard.text, 'cannot exec in a stopped state: unknown');
});

test('so is what is said of a container that ends at the moment of the start, and it tells of that', () => {
  for (const text of [
    'ttrpc: closed: unknown',
    'cannot exec in a stopped state: unknown',
    'task 0123abcd not found: not found',
  ]) {
    const { guard, client } = guarded();
    guard.write(Buffer.from(`${text}\r\n`));
    assert.equal(client(), '', text);
    assert.equal(tellsOfContainerEnd(guard.text), true, text);
  }
  assert.equal(tellsOfContainerEnd('OCI runtime exec failed: exec failed: no such file or directory'), false);
});

test('a program that prints the same words gets them delivered, and all that follows', () => {
  const { guard, client } = guarded();
  guard.write(Buffer.from('OCI runtime exec failed: just kidding\n'));
  guard.release();
  guard.write(Buffer.from('more'));
  assert.equal(client(), 'OCI runtime exec failed: just kidding\nmore');
});

test('output that only begins alike, or goes on for long, is released by itself', () => {
  const { guard, client } = guarded();
  guard.write(Buffer.from('OCI run'));
  guard.write(Buffer.from('ners unite'));
  assert.equal(client(), 'OCI runners unite');
  const long = guarded();
  long.guard.write(Buffer.from('OCI runtime exec failed: ' + 'x'.repeat(20_000)));
  assert.equal(long.client().length, 20_025);
});
