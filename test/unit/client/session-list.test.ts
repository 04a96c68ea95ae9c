import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SessionTableText, wholeId, type SessionRow } from '../../../src/client/session-list.ts';

const row = (fields: Partial<SessionRow> = {}): SessionRow => ({
  id: '0b7f2a52-6f0e-4a55-9d0c-6f1c4b8f6a01',
  state: 'started',
  user: 'jane@example.com',
  namespace: 'shop',
  pod: 'web-0',
  container: 'app',
  program: 'sh',
  durationMs: 65_000,
  idleMs: 4_000,
  ...fields,
});

test('shows what runs and how the others ended, in columns that grow and do not shrink', () => {
  const table = new SessionTableText();
  assert.equal(
    table.lines([row(), row({ id: 'ffffffff-1', state: 'ended', idleMs: undefined, reason: 'exit', exitCode: 3 })]),
    [
      'ID         STATE     USER               NAMESPACE   POD     CONTAINER   PROGRAM   AGE   IDLE   END',
      '0b7f2a52   started   jane@example.com   shop        web-0   app         sh        65s   4s     -',
      'ffffffff   ended     jane@example.com   shop        web-0   app         sh        65s   -      exit 3',
      '',
    ].join('\n'),
  );
  assert.equal(
    table.lines([row({ user: 'bob', state: 'ended', idleMs: undefined, reason: 'idle' })]),
    '0b7f2a52   ended     bob                shop        web-0   app         sh        65s   -      idle\n',
  );
});

test('what a caller has chosen cannot move the cursor', () => {
  const text = new SessionTableText().lines([row({ user: 'a\u001b[2Jb\u202ec', program: 'x\ny' })]);
  assert.match(text, / a\?\[2Jb\?c .* x\?y /);
});

test('the beginning of an id is enough where it is the only one', () => {
  const sessions = [row({ id: 'abcd-1' }), row({ id: 'abce-2' })];
  assert.equal(wholeId(sessions, 'abcd'), 'abcd-1');
  assert.equal(wholeId(sessions, 'abce-2'), 'abce-2');
  assert.throws(() => wholeId(sessions, 'abc'), { exitCode: 2, message: 'abc may be any of abcd-1, abce-2' });
  assert.throws(() => wholeId(sessions, 'x'), { exitCode: 1, message: 'session x not found' });
});
