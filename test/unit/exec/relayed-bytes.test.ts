import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ExecStreams, InputConsumer } from '../../../src/exec/connection.ts';
import { RelayedBytes } from '../../../src/exec/relayed-bytes.ts';

test('input alone is use, and so is each output; the first output is told once', context => {
  let now = 0;
  context.mock.method(performance, 'now', () => now);
  let input: InputConsumer | undefined;
  const sink = { write: () => true };
  const streams: ExecStreams = {
    stdin: { consume: consumer => (input = consumer), resume: () => undefined, discard: () => undefined },
    stdout: sink,
    stderr: sink,
    started: () => undefined,
    onDrain: () => undefined,
  };
  const first: number[] = [];
  const bytes = new RelayedBytes(() => first.push(now));
  const counted = bytes.counting(streams);
  counted.stdin?.consume({ data: () => true, end: () => undefined });
  const used: number[] = [];
  for (const use of [
    () => input?.data(Buffer.from('abc')),
    () => counted.stdout?.write(Buffer.from('de')),
    () => counted.stderr?.write(Buffer.from('f')),
  ]) {
    now += 10;
    use();
    used.push(bytes.lastAt);
  }
  assert.deepEqual(used, [10, 20, 30]);
  assert.deepEqual([bytes.stdin, bytes.stdout, bytes.stderr], [3, 2, 1]);
  assert.deepEqual(first, [20]);
});
