import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TerminalSize } from '../../../src/exec/connection.ts';
import { TerminalSizeDecoder, TerminalSizes } from '../../../src/remotecommand/terminal-size.ts';

function newestOf(chunks: readonly Buffer[]): TerminalSize | undefined {
  const decoder = new TerminalSizeDecoder();
  return chunks.map(chunk => decoder.push(chunk)).findLast(size => size !== undefined);
}

test('reads concatenated objects, with or without newlines, however they are cut', () => {
  const bytes = Buffer.from('{"Width":80,"Height":24}\n{"width":100,"HEIGHT":30,"other":1}{"Width":120,"Height":40}');
  assert.deepEqual(newestOf([bytes]), { width: 120, height: 40 });
  assert.deepEqual(newestOf(Array.from(bytes, byte => Buffer.from([byte]))), { width: 120, height: 40 });
});

test('skips sizes that no terminal has', () => {
  assert.equal(newestOf([Buffer.from('{"Width":0,"Height":24}{"Width":70000,"Height":24}{}')]), undefined);
  assert.deepEqual(newestOf([Buffer.from('{"Width":0,"Height":0}{"Width":9,"Height":9}')]), { width: 9, height: 9 });
});

test('stops for good at the first malformed object', () => {
  assert.equal(newestOf([Buffer.from('nonsense{"Width":80,"Height":24}')]), undefined);
  assert.deepEqual(newestOf([Buffer.from('{"Width":80,"Height":24}{"Width":"x"}{"Width":9,"Height":9}')]), {
    width: 80,
    height: 24,
  });
});

test('an object that never ends is not held', () => {
  assert.equal(newestOf([Buffer.from('{' + ' '.repeat(100_000)), Buffer.from('"Width":80,"Height":24}')]), undefined);
});

test('only the newest size is kept until somebody consumes it', () => {
  const sizes = new TerminalSizes();
  sizes.push(Buffer.from('{"Width":1,"Height":1}'));
  sizes.push(Buffer.from('{"Width":2,"Height":2}'));
  const seen: TerminalSize[] = [];
  sizes.consume(size => seen.push(size));
  sizes.push(Buffer.from('{"Width":3,"Height":3}'));
  assert.deepEqual(seen, [
    { width: 2, height: 2 },
    { width: 3, height: 3 },
  ]);
});

test('a message of megabytes is not parsed at all', () => {
  assert.equal(newestOf([Buffer.from('{}'.repeat(100_000)), Buffer.from('{"Width":80,"Height":24}')]), undefined);
});
