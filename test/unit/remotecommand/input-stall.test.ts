import assert from 'node:assert/strict';
import { beforeEach, test, type TestContext } from 'node:test';
import { InputStall } from '../../../src/remotecommand/input-stall.ts';

const READ_AGAIN_MS = 20_000;
const LIMIT_BYTES = 16 * 1024 * 1024;

let reading = true;
let stall: InputStall;

beforeEach(context => {
  (context as TestContext).mock.timers.enable({ apis: ['setTimeout'] });
  reading = true;
  stall = new InputStall({ pause: () => (reading = false), resume: () => (reading = true) });
});

test('a full command stops the reading, one that takes again starts it', () => {
  stall.full(1000);
  assert.equal(reading, false);
  stall.over();
  assert.equal(reading, true);
});

test('after 20 s the connection is read up to the next PING, again and again', context => {
  stall.full(1000);
  for (let round = 0; round < 5; round += 1) {
    context.mock.timers.tick(READ_AGAIN_MS - 1);
    assert.equal(reading, false);
    context.mock.timers.tick(1);
    assert.equal(reading, true);
    stall.full(1000); // input before the PING is kept, and does not stop the search for it
    assert.equal(reading, true);
    stall.ping();
    assert.equal(reading, false);
  }
});

test('what is kept meanwhile has a limit, from which on nothing is read until the command takes input', context => {
  stall.full(1000);
  context.mock.timers.tick(READ_AGAIN_MS);
  stall.full(LIMIT_BYTES - 1001);
  assert.equal(reading, true);
  stall.full(1);
  assert.equal(reading, false);
  context.mock.timers.tick(10 * READ_AGAIN_MS);
  assert.equal(reading, false);
  stall.over();
  assert.equal(reading, true);
});

test('a PING while the command takes its input changes nothing', context => {
  stall.ping();
  assert.equal(reading, true);
  stall.full(1000);
  stall.over();
  stall.ping();
  context.mock.timers.tick(10 * READ_AGAIN_MS);
  assert.equal(reading, true);
});
