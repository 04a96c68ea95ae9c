import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exitCodeOf } from '../../../src/client/exec-status.ts';
import { exitStatus } from '../../support/exec-server.ts';

// client-go's decoding of the v4 error stream, case by case.
const EXITS: [title: string, stream: string, exitCode: number][] = [
  ['Success', '{"metadata":{},"status":"Success"}', 0],
  ['Success without metadata, with a newline', '{"status":"Success"}\n', 0],
  ['exit code 3', exitStatus(3), 3],
  ['exit code 255', exitStatus(255), 255],
  ['exit code 0 in a failure', exitStatus('0'), 0],
  ['leading zeros', exitStatus('007'), 7],
  [
    'the exit code among other causes, with nulls where Go may write them',
    '{"status":"Failure","message":null,"reason":"NonZeroExitCode","details":{"causes":[{"reason":"x","message":"1"},{"message":"2"},{"reason":"ExitCode","message":"9"}]}}',
    9,
  ],
];
for (const [title, stream, exitCode] of EXITS) {
  test(`${title} is exit code ${exitCode}`, () => assert.equal(exitCodeOf(Buffer.from(stream)), exitCode));
}

const FAILURES: [title: string, stream: string, message: RegExp | string][] = [
  ['nothing', '', 'the connection ended without a status: it is unknown how the command ended'],
  ['another reason', '{"status":"Failure","reason":"InternalError","message":"it broke","code":500}', 'it broke'],
  ['exit code 256', exitStatus(256), 'error stream protocol error: invalid exit code value "256"'],
  ['exit code -1', exitStatus(-1), 'error stream protocol error: invalid exit code value "-1"'],
  ['an exit code that is no number', exitStatus('x'), 'error stream protocol error: invalid exit code value "x"'],
  ['an empty exit code', exitStatus(''), 'error stream protocol error: invalid exit code value ""'],
  ['no details', '{"status":"Failure","reason":"NonZeroExitCode"}', 'error stream protocol error: details must be set'],
  [
    'no causes',
    '{"status":"Failure","reason":"NonZeroExitCode","details":{}}',
    'error stream protocol error: no ExitCode cause given',
  ],
  ['{}', '{}', 'error stream protocol error: unknown error'],
  ['an unknown status', '{"status":"Maybe"}', 'error stream protocol error: unknown error'],
  ['text', 'boom', /^error stream protocol error: .* in "boom"$/],
  ['JSON that is no Status', '[]', 'error stream protocol error: not a Status in "[]"'],
  ['two documents', '{"status":"Success"}{}', /^error stream protocol error: /],
];
for (const [title, stream, message] of FAILURES) {
  test(`${title} is a failure`, () =>
    assert.throws(() => exitCodeOf(Buffer.from(stream)), { name: 'ClientError', message, exitCode: 1 }));
}
