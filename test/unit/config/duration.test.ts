import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDuration } from '../../../src/config/duration.ts';

test('reads durations as Go writes them', () => {
  const expected = {
    '30s': 30_000,
    '1m30s': 90_000,
    '1.5h': 5_400_000,
    '1h0m0.25s': 3_600_250,
    '300ms': 300,
    '.5s': 500,
    '2.s': 2_000,
    '1500us': 1.5,
    '1500µs': 1.5,
    '1500μs': 1.5,
    '2m1ns': 120_000.000001,
    '0s': 0,
  };
  for (const [text, milliseconds] of Object.entries(expected)) assert.equal(parseDuration(text), milliseconds, text);
});

test('anything else is no duration, a number without a unit too', () => {
  for (const text of [
    '',
    '10',
    '0',
    '-1s',
    '+1s',
    '1d',
    's',
    '.s',
    '1 m',
    ' 1m',
    '1m ',
    '1m\n',
    '1m30',
    '1e3s',
    '1S',
    '٣s',
  ]) {
    assert.equal(parseDuration(text), undefined, JSON.stringify(text));
  }
});
