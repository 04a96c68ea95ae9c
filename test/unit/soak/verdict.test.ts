import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Received, type Observed } from '../../../scripts/soak/observed.ts';
import { PROTOCOLS, planHello, type Expected, type SessionPlan } from '../../../scripts/soak/session-plan.ts';
import { failuresOf, type Findings } from '../../../scripts/soak/summary.ts';
import { judge } from '../../../scripts/soak/verdict.ts';

// What the soak would say of a daemon that does something wrong.

const OUTPUT = Buffer.from('0123456789');
const NOTHING = Buffer.alloc(0);
const SUCCESS = '{"metadata":{},"status":"Success"}';
const WHOLE = { end: 'exit', exitCode: 0, stdout: OUTPUT, stderr: NOTHING } as const;
const INTERRUPTIBLE = { ...WHOLE, end: 'exit or interruption' } as const;

function exitStatus(exitCode: number): string {
  const details = { causes: [{ reason: 'ExitCode', message: String(exitCode) }] };
  return JSON.stringify({ status: 'Failure', reason: 'NonZeroExitCode', details });
}

function failureStatus(message: string): string {
  return JSON.stringify({ status: 'Failure', reason: 'InternalError', message });
}

/** The problems of a session over `v4` (with JSON) or without a subprotocol (with text). */
function problems(
  expected: Expected,
  { stdout = OUTPUT.toString(), errorStream = SUCCESS, json = true, ...more }: ObservedOptions,
): readonly string[] {
  const protocol = PROTOCOLS.find(candidate => candidate.json === json && candidate.transport === 'websocket');
  assert.ok(protocol !== undefined);
  const plan: SessionPlan = { ...planHello(protocol), expected };
  const received = new Received('stdout' in expected ? expected.stdout : NOTHING);
  // In pieces, as it comes.
  for (const character of stdout) received.take(Buffer.from(character));
  const observed: Observed = {
    left: false,
    protocol: protocol.name,
    stdout: received,
    stderr: new Received(),
    errorStream,
    flaws: [],
    sentBytes: 0,
    ...more,
  };
  return judge(plan, observed).problems;
}

interface ObservedOptions {
  readonly stdout?: string;
  readonly errorStream?: string;
  readonly json?: boolean;
  readonly refused?: number;
  readonly flaws?: readonly string[];
  readonly protocol?: string;
}

describe('a session that must end with its exit code and its whole output', () => {
  test('is right when it does', () => {
    assert.deepEqual(problems(WHOLE, {}), []);
    assert.deepEqual(problems(WHOLE, { json: false, errorStream: '' }), []);
    assert.deepEqual(problems({ ...WHOLE, exitCode: 3 }, { errorStream: exitStatus(3) }), []);
  });

  test('a missing tail, a byte too many, and two bytes swapped are seen, and where', () => {
    assert.deepEqual(problems(WHOLE, { stdout: '012345678' }), ['stdout has 9 bytes, not 10']);
    assert.deepEqual(problems(WHOLE, { stdout: '0123456789x' }), [
      'stdout has 11 bytes, not 10, different from byte 10 on, begins with "0123456789x"',
    ]);
    assert.deepEqual(problems(WHOLE, { stdout: '0123546789' }), [
      'stdout has 10 bytes, not 10, different from byte 4 on, begins with "0123546789"',
    ]);
  });

  test('another exit code, another subprotocol, no Status, two of them, and flaws of the transport are seen', () => {
    const text = 'command terminated with non-zero exit code: exit status 4';
    for (const wrong of [
      { errorStream: exitStatus(4) },
      { errorStream: '' },
      { errorStream: SUCCESS + SUCCESS },
      { errorStream: failureStatus('Internal error occurred') },
      { json: false, errorStream: text },
      { protocol: 'v5.channel.k8s.io' },
      { flaws: ['close code 1006'] },
      { refused: 404 },
    ]) {
      assert.equal(problems(WHOLE, wrong).length, 1, JSON.stringify(wrong));
    }
  });
});

describe('a session whose container may be restarted', () => {
  test('may end with a failure, a signal or a refusal, with the output up to there', () => {
    for (const right of [
      {},
      { stdout: '012', errorStream: failureStatus('the container has gone') },
      { stdout: '', errorStream: exitStatus(137) },
      { stdout: '0123', errorStream: exitStatus(143) },
      { refused: 404 },
      { refused: 409 },
    ]) {
      assert.deepEqual(problems(INTERRUPTIBLE, right), [], JSON.stringify(right));
    }
  });

  test('may not end with success and less output, with wrong output, or without a Status', () => {
    for (const wrong of [
      { stdout: '012' },
      { stdout: '0x2', errorStream: exitStatus(137) },
      { stdout: '012', errorStream: '' },
      { stdout: '012', errorStream: exitStatus(1) },
      { refused: 500 },
    ]) {
      assert.notDeepEqual(problems(INTERRUPTIBLE, wrong), [], JSON.stringify(wrong));
    }
  });
});

test('a command that never started is a failure that says so, without output', () => {
  const expected = { end: 'start failure' } as const;
  const errorStream = failureStatus('Internal error occurred: error executing command in container: no such file');
  assert.deepEqual(problems(expected, { stdout: '', errorStream }), []);
  assert.notDeepEqual(problems(expected, { stdout: 'OCI runtime exec failed', errorStream }), []);
  assert.notDeepEqual(problems(expected, { stdout: '', errorStream: exitStatus(127) }), []);
});

test('a refusal must come, and with its own status', () => {
  const expected = { end: 'refusal', status: 404 } as const;
  assert.deepEqual(problems(expected, { refused: 404 }), []);
  assert.notDeepEqual(problems(expected, { refused: 403 }), []);
  assert.notDeepEqual(problems(expected, {}), []);
});

describe('what the Engine did not do', () => {
  const fault = failureStatus('the Engine at unix:///x does not answer: socket hang up');

  test('is no mismatch, when it is told as a failure and no output is wrong', () => {
    assert.deepEqual(problems(WHOLE, { stdout: '', errorStream: fault }), []);
    assert.deepEqual(problems({ end: 'start failure' }, { stdout: '', errorStream: fault }), []);
    assert.equal(problems(WHOLE, { stdout: '0x', errorStream: fault }).length, 1);
    assert.equal(problems(WHOLE, { stdout: '', errorStream: fault, flaws: ['close code 1006'] }).length, 1);
    assert.equal(problems(WHOLE, { stdout: '', errorStream: failureStatus('the Engine broke off') }).length, 2);
  });

  test('fails a run all the same, when it is more than one session of a thousand', () => {
    const none = { fds: 0, sockets: 0, timers: 0, execs: 0, sessions: 0 };
    const findings = (sessions: number, faults: number): Omit<Findings, 'failures'> => ({
      ...{
        seed: 1,
        minutes: 1,
        concurrency: 8,
        sessions,
        byKind: {},
        byProtocol: {},
        byEnd: { 'engine fault': faults },
      },
      ...{
        containerRestarts: 0,
        bytesRelayed: 0,
        mismatches: 0,
        mismatched: [],
        neverStarted: 0,
        keptExecs: [],
        daemonErrors: [],
      },
      slopes: { rssKib: 0, usedKib: 0, fds: 0, sockets: 0, timers: 0 },
      leftBehind: none,
      rssKib: { before: 0, most: 0, after: 0 },
      usedKib: { before: 0, most: 0, after: 0 },
    });
    assert.deepEqual(failuresOf(findings(30_000, 30)), []);
    assert.equal(failuresOf(findings(30_000, 31)).length, 1);
    assert.deepEqual(failuresOf(findings(500, 1)), []);
    assert.equal(failuresOf(findings(500, 2)).length, 1);
    const kept = (faults: number, execs: number): string[] =>
      failuresOf({ ...findings(30_000, faults), leftBehind: { ...none, execs } });
    assert.deepEqual(kept(12, 12), [], 'the Engine keeps an exec that it did not start');
    assert.deepEqual(kept(12, 13), ['1 execs left behind']);
  });
});
