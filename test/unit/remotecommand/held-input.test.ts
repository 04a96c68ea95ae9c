import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeldInput } from '../../../src/remotecommand/held-input.ts';

function collector(): { text: string; ended: number; data(chunk: Buffer): boolean; end(): void } {
  return {
    text: '',
    ended: 0,
    data(chunk) {
      this.text += chunk.toString();
      return true;
    },
    end() {
      this.ended += 1;
    },
  };
}

test('holds what comes early, in order, and says when it holds enough', () => {
  let resumed = 0;
  const input = new HeldInput({ highWaterMarkBytes: 500, onResume: () => (resumed += 1) });
  assert.equal(input.push(Buffer.from('ab')), true);
  assert.equal(input.push(Buffer.from('cd')), false);
  const consumer = collector();
  input.consume(consumer);
  assert.equal(consumer.text, 'abcd');
  assert.equal(resumed, 1);
  input.push(Buffer.from('e'));
  input.end();
  input.end();
  input.push(Buffer.from('late'));
  assert.deepEqual([consumer.text, consumer.ended], ['abcde', 1]);
});

test('an end that came before the consumer is delivered after the data', () => {
  const input = new HeldInput({ highWaterMarkBytes: 100, onResume: () => undefined });
  input.push(Buffer.from('x'));
  input.end();
  const consumer = collector();
  input.consume(consumer);
  assert.deepEqual([consumer.text, consumer.ended], ['x', 1]);
});

test('discarded input is read on and dropped', () => {
  let resumed = 0;
  const input = new HeldInput({ highWaterMarkBytes: 1, onResume: () => (resumed += 1) });
  assert.equal(input.push(Buffer.from('x')), false);
  input.discard();
  assert.equal(resumed, 1);
  assert.equal(input.push(Buffer.from('y')), true);
});

test('a transport that was paused goes on after the end of the input', () => {
  let resumed = 0;
  const input = new HeldInput({ highWaterMarkBytes: 1_000, onResume: () => (resumed += 1) });
  input.consume({ data: () => false, end: () => undefined });
  resumed = 0;
  assert.equal(input.push(Buffer.from('x')), false);
  input.end();
  assert.equal(resumed, 1);
  const early = new HeldInput({ highWaterMarkBytes: 1, onResume: () => (resumed += 1) });
  assert.equal(early.push(Buffer.from('x')), false);
  early.end();
  resumed = 0;
  early.consume({ data: () => false, end: () => undefined });
  assert.equal(resumed, 1);
});

test('a byte does not keep alive the 64 KiB that it was read with', () => {
  const held = new HeldInput({ highWaterMarkBytes: 1_000, onResume: () => undefined });
  const kept = new Set<ArrayBufferLike>();
  held.consume({
    data: chunk => {
      kept.add(chunk.buffer);
      return true;
    },
    end: () => undefined,
  });
  for (let count = 0; count < 1_000; count += 1) held.push(Buffer.alloc(65_536).subarray(count, count + 1));
  const keptBytes = [...kept].reduce((sum, { byteLength }) => sum + byteLength, 0);
  assert.ok(keptBytes <= 16_384, `${keptBytes} bytes are kept for 1000`);
});

test('many small chunks are enough before their bytes are: each costs more than it carries', () => {
  const held = new HeldInput({ highWaterMarkBytes: 10_000, onResume: () => undefined });
  let taken = 1;
  while (held.push(Buffer.from('x'))) taken += 1;
  assert.ok(taken < 50, `${taken} chunks of one byte are held`);
});
