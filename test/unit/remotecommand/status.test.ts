import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExecletError } from '../../../src/errors.ts';
import type { ExecOutcome } from '../../../src/exec/connection.ts';
import { negotiateSpdy } from '../../../src/remotecommand/protocol.ts';
import { encodeStatus } from '../../../src/remotecommand/status.ts';

const v4 = negotiateSpdy(['v4.channel.k8s.io']);
const v3 = negotiateSpdy(['v3.channel.k8s.io']);

function failed(reason: Exclude<ExecOutcome, { kind: 'exited' }>['reason'], message: string): ExecOutcome {
  return { kind: 'failed', reason, error: new ExecletError('Internal', message) };
}

test('success is one byte-exact JSON Status from v4 on, and nothing before', () => {
  const success: ExecOutcome = { kind: 'exited', exitCode: 0 };
  assert.equal(encodeStatus(success, v4).toString(), '{"metadata":{},"status":"Success"}');
  assert.equal(encodeStatus(success, v3).length, 0);
});

test('every exit code from 1 to 255 is a byte-exact NonZeroExitCode', () => {
  for (let exitCode = 1; exitCode < 256; exitCode += 1) {
    assert.equal(
      encodeStatus({ kind: 'exited', exitCode }, v4).toString(),
      `{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: exit status ${exitCode}",` +
        `"reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"${exitCode}"}]}}`,
    );
  }
  assert.equal(
    encodeStatus({ kind: 'exited', exitCode: 3 }, v3).toString(),
    'command terminated with non-zero exit code: exit status 3',
  );
});

test('a failure says why, for people and for programs', () => {
  const status: unknown = JSON.parse(encodeStatus(failed('start_failed', 'nope: not found'), v4).toString());
  assert.deepEqual(status, {
    metadata: {},
    status: 'Failure',
    message: 'Internal error occurred: error executing command in container: nope: not found',
    reason: 'InternalError',
    details: {
      causes: [
        { message: 'error executing command in container: nope: not found' },
        { reason: 'ExecletReason', message: 'start_failed' },
      ],
    },
    code: 500,
  });
});

test('a limit of time is a Timeout', () => {
  const { reason, code, message } = JSON.parse(encodeStatus(failed('idle', 'idle for 4h'), v4).toString()) as {
    reason: string;
    code: number;
    message: string;
  };
  assert.deepEqual({ reason, code, message }, { reason: 'Timeout', code: 504, message: 'idle for 4h' });
});
