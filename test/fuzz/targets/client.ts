import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ClientError, EXIT_USAGE } from '../../../src/client/client-error.ts';
import { exitCodeOf } from '../../../src/client/exec-status.ts';
import { contextSettings, parseKubeconfig } from '../../../src/client/kubeconfig.ts';
import { messageIn } from '../../../src/client/refusal.ts';
import { outcomeOf, type FuzzTarget } from '../target.ts';

/** Any error stream is an exit code or a ClientError, and exit code 0 only where it says so. */
export const execStatus: FuzzTarget = {
  name: 'exec-status',
  sources: ['client/exec-status.ts'],
  tokens: [
    ...[
      '{"metadata":{},"status":"Success"}',
      '"status":"Failure"',
      '"reason":"NonZeroExitCode"',
      '"details":{"causes":[',
    ],
    ...[
      '{"reason":"ExitCode","message":"3"}',
      '{',
      '}',
      ']',
      ',',
      '"message":',
      'null',
      '"0"',
      '"255"',
      '"256"',
      '"1e2"',
    ],
  ],
  nearlyRight: fc
    .record(
      {
        status: fc.constantFrom('Success', 'Failure', null, 3),
        message: fc.oneof(fc.string(), fc.constant(null)),
        reason: fc.constantFrom('NonZeroExitCode', 'NonZeroExitCode', 'InternalError', null),
        details: fc.oneof(
          fc.constant(null),
          fc.record({
            causes: fc.array(
              fc.record({
                reason: fc.constantFrom('ExitCode', 'ExitCode', 'x', null),
                message: fc.oneof(fc.nat({ max: 511 }).map(String), fc.string(), fc.constant(null)),
              }),
            ),
          }),
        ),
      },
      { requiredKeys: ['status'] },
    )
    .map(status => JSON.stringify(status)),
  check: input => {
    const exited = outcomeOf(() => exitCodeOf(input), ClientError);
    if ('error' in exited) {
      assert.equal(exited.error.exitCode, 1);
      return;
    }
    assert.ok(Number.isInteger(exited.value) && exited.value >= 0 && exited.value <= 255);
    const status: unknown = JSON.parse(input.toString());
    assert.ok(typeof status === 'object' && status !== null && 'status' in status);
    if (status.status === 'Success') assert.equal(exited.value, 0);
    else assert.match(input.toString(), new RegExp(`"\\s*0*${exited.value}\\s*"|\\\\u`));
  },
};

/** Any body of a refusal has a message, its own where it is a Status, else all of it. */
export const refusal: FuzzTarget = {
  name: 'refusal',
  sources: ['client/refusal.ts'],
  tokens: [
    '{"message":"no"}',
    '{"message":""}',
    '{"error":"no"}',
    '{',
    '}',
    '"message":',
    '"error":',
    '""',
    'null',
    '[',
    ']',
    '404: Page Not Found',
  ],
  check: input => {
    const body = input.toString();
    const message = messageIn(body);
    if (message === body.trim()) return;
    const said: unknown = JSON.parse(body);
    assert.ok(typeof said === 'object' && said !== null && message !== '');
    assert.ok(('message' in said && said.message === message) || ('error' in said && said.error === message));
  },
};

const FILE = '/kubeconfig';

/** Any text is a kubeconfig or a usage error of one line, and so is what its context says. */
export const kubeconfig: FuzzTarget = {
  name: 'kubeconfig',
  sources: ['client/kubeconfig.ts'],
  tokens: [
    ...[
      'current-context: a\n',
      'contexts:\n',
      'clusters:\n',
      'users:\n',
      '- name: a\n',
      '  context:\n',
      '  cluster:\n',
    ],
    ...[
      '  user:\n',
      '    cluster: a\n',
      '    user: a\n',
      '    server: https://h\n',
      '    token: t\n',
      '    exec: {}\n',
    ],
    ...[
      '    client-key-data: aGk=\n',
      '    certificate-authority: ca.pem\n',
      '- ',
      '[',
      '{',
      '&a ',
      '*a',
      '!!binary ',
      '"',
      '? ',
    ],
  ],
  check: input => {
    const text = input.toString();
    const settings = outcomeOf(() => contextSettings([parseKubeconfig(text, FILE)]), ClientError);
    if ('value' in settings) return;
    assert.equal(settings.error.exitCode, EXIT_USAGE);
    assert.ok(settings.error.message.startsWith(`${FILE}: `));
    assert.doesNotMatch(settings.error.message, /\n/);
  },
};
