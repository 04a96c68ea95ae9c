import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StdcopyDemultiplexer, StdcopyError } from '../../../src/docker/stdcopy.ts';

function frame(type: number, payload: Uint8Array, declared = payload.length): Buffer {
  const header = Buffer.alloc(8);
  header[0] = type;
  header.writeUInt32BE(declared, 4);
  return Buffer.concat([header, payload]);
}

function demultiplex(chunks: readonly Buffer[]): { stdout: string; stderr: string } {
  const outputs = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  const demultiplexer = new StdcopyDemultiplexer((stream, slice) => outputs[stream].push(slice));
  for (const chunk of chunks) demultiplexer.push(chunk);
  demultiplexer.end();
  return {
    stdout: Buffer.concat(outputs.stdout).toString('hex'),
    stderr: Buffer.concat(outputs.stderr).toString('hex'),
  };
}

test('100 000 frames of one byte in one chunk do not exhaust the stack', () => {
  const stream = Buffer.concat(Array.from({ length: 100_000 }, () => frame(1, Buffer.from('x'))));
  assert.equal(demultiplex([stream]).stdout.length, 200_000);
});

test('refuses impossible frames', () => {
  assert.throws(() => demultiplex([frame(7, Buffer.from('x'))]), { name: 'StdcopyError', message: /stream type 7/ });
  assert.throws(() => demultiplex([frame(1, Buffer.from('x'), 0xffffffff)]), {
    name: 'StdcopyError',
    message: /4294967295/,
  });
});

test('an error that the Engine reports in the stream is thrown with its text, even with none', () => {
  assert.throws(() => demultiplex([frame(3, Buffer.from('it broke\r\n'))]), { message: 'the Engine failed: it broke' });
  assert.throws(() => demultiplex([frame(3, Buffer.alloc(0))]), { message: 'the Engine failed: ' });
});

test('an end inside a frame is an error, not an end', () => {
  const whole = frame(1, Buffer.from('hello'));
  assert.throws(() => demultiplex([whole.subarray(0, 10)]), StdcopyError);
  assert.throws(() => demultiplex([whole.subarray(0, 3)]), StdcopyError);
});
