import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check, ok } from '../../../src/doctor/check.ts';

test('a check is done by its deadline, whatever it waits for', async () => {
  const [late, ...rest] = await check('files', () => new Promise(() => undefined), 1);
  assert.deepEqual(rest, []);
  assert.equal(late?.check, 'files');
  assert.equal(late.result, 'problem');
  assert.match(late.text, /^files: not done within 0\.001 s: /);
});

test('what a check throws is a problem, and every finding is one line', async () => {
  assert.deepEqual(await check('tls', () => Promise.reject(new Error('no\n  such file'))), [
    { check: 'tls', result: 'problem', text: 'tls: no such file' },
  ]);
  assert.deepEqual(await check('tls', () => Promise.resolve([ok('a\nb')])), [
    { check: 'tls', result: 'ok', text: 'a b' },
  ]);
  assert.deepEqual(await check('port', () => Promise.resolve([ok('[-]\x1b]0;x\x07\x9bm é')])), [
    { check: 'port', result: 'ok', text: '[-]?]0;x??m é' },
  ]);
});
