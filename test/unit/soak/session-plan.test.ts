import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KINDS, PROTOCOLS, planSession } from '../../../scripts/soak/session-plan.ts';
import { makeSourceBytes } from '../../../scripts/soak/source-bytes.ts';

const source = makeSourceBytes(1);
const pairs = KINDS.length * PROTOCOLS.length;

test('the same seed and number are the same session, whatever was drawn before', () => {
  const first = planSession(1, 77, source);
  planSession(1, 3, source);
  assert.deepEqual(planSession(1, 77, source), first);
  assert.notDeepEqual(planSession(2, 77, source), first);
});

test('every kind meets every protocol in one round', () => {
  const met = Array.from({ length: pairs }, (_, number) => {
    const { kind, protocol } = planSession(1, number, source);
    return `${kind} ${protocol.transport} ${protocol.name}`;
  });
  assert.equal(new Set(met).size, pairs);
});

test('what a session expects fits what it does', () => {
  for (let number = 0; number < 4 * pairs; number += 1) {
    const { expected, reset, kind, protocol, stdin, tty, size } = planSession(5, number, source);
    assert.equal(reset !== undefined, kind === 'client reset');
    assert.equal(expected.end === 'nothing', reset !== undefined);
    if (reset?.point === 'mid-input') assert.ok(stdin !== undefined && reset.after <= stdin.bytes.length);
    if (size !== undefined) assert.ok(tty && protocol.resizes);
    if (reset?.point === 'between streams') assert.equal(protocol.transport, 'spdy');
    if ('exitCode' in expected) assert.ok(expected.exitCode >= 0 && expected.exitCode <= 255);
  }
});
