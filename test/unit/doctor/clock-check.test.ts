import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkClock } from '../../../src/doctor/clock-check.ts';

const at = (seconds: number): Date => new Date(Date.UTC(2026, 0, 1, 0, 0, seconds));
const compare = (theirs: number, { askedAt = 30, answeredAt = 30 } = {}): string => {
  const { result, text } = checkClock({
    whose: 'it',
    theirs: at(theirs),
    askedAt: at(askedAt),
    answeredAt: at(answeredAt),
  });
  return `${result}: ${text}`;
};

test('clocks that differ by more than 5 s are a problem that says which is ahead', () => {
  assert.match(compare(20), /^problem: the clock here is 10 s ahead of that of it, .*timedatectl/);
  assert.match(compare(42), /^problem: the clock here is 12 s behind that of it, /);
  for (const theirs of [25, 30, 35]) assert.equal(compare(theirs), 'ok: the clock here and that of it agree');
});

test('a slow answer is no difference of clocks', () => {
  const slow = { askedAt: 10, answeredAt: 50 };
  for (const theirs of [5, 30, 55]) assert.match(compare(theirs, slow), /^ok: /);
  assert.match(compare(57, slow), /^problem: the clock here is 7 s behind/);
});

test('somebody who tells no time is a problem of its own', () => {
  const [askedAt, answeredAt] = [at(0), at(0)];
  assert.equal(checkClock({ whose: 'it', theirs: new Date('never'), askedAt, answeredAt }).result, 'problem');
});
