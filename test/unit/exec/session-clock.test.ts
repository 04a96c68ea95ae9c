import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { SessionClock } from '../../../src/exec/session-clock.ts';

const MINUTE_MS = 60_000;

/** A clock of that length over time that the test moves; `usedAt` moves its end. */
function clockOf(context: TestContext, lengthMs: number) {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  let now = 0;
  context.mock.method(performance, 'now', () => now);
  const told: string[] = [];
  const use = { at: 0 };
  const clock = new SessionClock({
    dueAt: () => use.at + lengthMs,
    lengthMs,
    onWarning: leftMs => told.push(`warned at ${now}, ${leftMs} before`),
    onDue: () => told.push(`due at ${now}`),
  });
  const pass = (ms: number): void => {
    for (let passed = 0; passed < ms; passed += 1_000) {
      now += 1_000;
      context.mock.timers.tick(1_000);
    }
  };
  return { clock, told, use, pass, now: () => now };
}

test('warns a minute before it is due', context => {
  const { told, pass } = clockOf(context, 10 * MINUTE_MS);
  pass(9 * MINUTE_MS - 1_000);
  assert.deepEqual(told, []);
  pass(60 * MINUTE_MS);
  assert.deepEqual(told, [`warned at ${9 * MINUTE_MS}, ${MINUTE_MS} before`, `due at ${10 * MINUTE_MS}`]);
});

test('use puts off the end, and each end that comes near is warned of', context => {
  const { told, use, pass, now } = clockOf(context, 10 * MINUTE_MS);
  pass(5 * MINUTE_MS);
  use.at = now();
  pass(9 * MINUTE_MS + 30_000); // warned of an end at 15 minutes
  assert.deepEqual(told, [`warned at ${14 * MINUTE_MS}, ${MINUTE_MS} before`]);
  use.at = now();
  pass(9 * MINUTE_MS);
  assert.deepEqual(told.slice(1), [`warned at ${23 * MINUTE_MS + 30_000}, ${MINUTE_MS} before`]);
  pass(MINUTE_MS);
  assert.deepEqual(told.slice(2), [`due at ${24 * MINUTE_MS + 30_000}`]);
});

test('one that is shorter than two minutes warns at half of it', context => {
  const { told, pass } = clockOf(context, 30_000);
  pass(30_000);
  assert.deepEqual(told, ['warned at 15000, 15000 before', 'due at 30000']);
});

test('a clock that was stopped says nothing more', context => {
  const { clock, told, pass } = clockOf(context, 30_000);
  pass(20_000);
  clock.stop();
  pass(MINUTE_MS);
  assert.deepEqual(told, ['warned at 15000, 15000 before']);
});
