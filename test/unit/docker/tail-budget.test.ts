import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TailBudget } from '../../../src/docker/tail-budget.ts';

test('a session may hold so much, and what its client has taken counts no more', () => {
  const tail = new TailBudget({ bytesPerSession: 100, bytesInAll: 1000 }).open();
  assert.equal(tail.hold(60), undefined);
  assert.equal(tail.hold(40), undefined);
  assert.match(tail.hold(1) ?? '', /more than 100 bytes/);
  tail.release();
  assert.equal(tail.hold(100), undefined);
});

test('all sessions together may hold so much; one that has ended leaves its share to the others', () => {
  const budget = new TailBudget({ bytesPerSession: 100, bytesInAll: 150 });
  const [first, second] = [budget.open(), budget.open()];
  assert.equal(first.hold(100), undefined);
  assert.equal(second.hold(50), undefined);
  assert.match(second.hold(1) ?? '', /all clients together left more than 150 bytes/);
  first.release();
  first.release();
  assert.equal(second.hold(49), undefined);
});
