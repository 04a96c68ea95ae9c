import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { KeepaliveRule, type Interval } from '../../../src/remotecommand/keepalive-rule.ts';

const SILENT: Interval = { heard: false, paused: false, blocked: false };
const HEARD: Interval = { ...SILENT, heard: true };
const PAUSED: Interval = { ...SILENT, paused: true };
const BLOCKED: Interval = { ...SILENT, blocked: true };

let rule: KeepaliveRule;
beforeEach(() => (rule = new KeepaliveRule()));

/** Sends a ping and answers its number. */
function ping(): number {
  const number = rule.nextPing;
  rule.pingSent();
  return number;
}

/** What each interval shows in turn, a ping at the beginning of each. */
function liveness(...intervals: readonly Interval[]): string[] {
  return intervals.map(interval => {
    ping();
    return rule.tick(interval).liveness;
  });
}

test('pings count from 1', () => {
  assert.deepEqual([ping(), ping(), ping()], [1, 2, 3]);
});

test('an idle client that misses two pings is gone', () => {
  assert.deepEqual(liveness(SILENT, SILENT), ['there', 'gone']);
});

test('nothing is missed before the first ping', () => {
  assert.deepEqual(rule.tick(SILENT), { liveness: 'there', result: undefined });
  assert.deepEqual(liveness(SILENT, SILENT), ['there', 'gone']);
});

test('an answered ping leaves nothing to miss, also where no further one can be sent', () => {
  rule.answered(ping());
  rule.tick(HEARD);
  for (let interval = 0; interval < 5; interval += 1) {
    assert.deepEqual(rule.tick(SILENT), { liveness: 'there', result: undefined });
  }
});

test('whatever is heard is life, be it no answer', () => {
  assert.deepEqual(liveness(SILENT, HEARD, SILENT, HEARD, SILENT), Array(5).fill('there'));
  assert.deepEqual(liveness(SILENT), ['gone']);
});

test('a client that has output to read is never gone by its silence', () => {
  rule.outputWritten();
  assert.deepEqual(liveness(...Array<Interval>(100).fill(SILENT)), Array(100).fill('unknown'));
});

test('output in front of an answered ping has been read', () => {
  rule.outputWritten();
  rule.answered(ping());
  rule.tick(HEARD);
  assert.deepEqual(liveness(SILENT, SILENT), ['there', 'gone']);
});

test('output behind a ping has not been read when that is answered', () => {
  const before = ping();
  rule.outputWritten();
  rule.answered(before);
  rule.tick(HEARD);
  assert.deepEqual(liveness(SILENT, SILENT, SILENT), ['unknown', 'unknown', 'unknown']);
});

test('the answer to the first ping behind the output is enough, whatever was sent after it', () => {
  rule.outputWritten();
  const behind = ping();
  ping();
  rule.answered(behind);
  rule.tick(HEARD);
  assert.deepEqual(liveness(SILENT, SILENT), ['there', 'gone']);
});

test('an answer to a later ping tells the same', () => {
  rule.outputWritten();
  ping();
  rule.answered(ping());
  rule.tick(HEARD);
  assert.deepEqual(liveness(SILENT, SILENT), ['there', 'gone']);
});

test('answers that are none say nothing of what has been read', () => {
  rule.outputWritten();
  ping();
  for (const number of [NaN, 0, -1, 2, Infinity]) rule.answered(number);
  assert.deepEqual(liveness(SILENT, SILENT, SILENT), ['unknown', 'unknown', 'unknown']);
});

test('silence does not count while we do not read, and begins anew afterwards', () => {
  assert.deepEqual(liveness(SILENT, PAUSED, PAUSED, PAUSED), ['there', 'unknown', 'unknown', 'unknown']);
  assert.deepEqual(liveness(SILENT, SILENT), ['there', 'gone']);
});

test('a client that takes nothing is silent, also where no ping could be sent', () => {
  rule.outputWritten();
  assert.equal(rule.tick(BLOCKED).liveness, 'unknown');
  assert.equal(rule.tick({ ...BLOCKED, heard: true }).liveness, 'there');
});

test('each ping has one result', () => {
  ping();
  assert.equal(rule.tick(HEARD).result, 'answered');
  ping();
  assert.equal(rule.tick(SILENT).result, 'missed');
  assert.equal(rule.tick(HEARD).result, undefined); // none was sent
  ping();
  assert.equal(rule.tick(SILENT).result, 'missed');
  ping();
  assert.equal(rule.tick(SILENT).result, 'ended');
});
