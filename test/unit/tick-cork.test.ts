import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { TickCork } from '../../src/tick-cork.ts';

test('what is written in one turn of the event loop leaves together, and the next turn apart from it', async () => {
  const calls: string[] = [];
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      calls.push(chunk.toString());
      done();
    },
    writev: (chunks: { chunk: Buffer }[], done) => {
      calls.push(Buffer.concat(chunks.map(({ chunk }) => chunk)).toString());
      done();
    },
  });
  const cork = new TickCork(stream);
  const write = (text: string): void => {
    cork.cork();
    stream.write(text);
  };
  write('a');
  write('b');
  assert.deepEqual(calls, []);
  await setImmediate();
  assert.deepEqual(calls, ['ab']);
  write('c');
  await setImmediate();
  assert.deepEqual(calls, ['ab', 'c']);
});
