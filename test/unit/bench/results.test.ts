import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describe, summarize, type Result } from '../../../scripts/bench/results.ts';
import { percentile } from '../../../scripts/bench/statistics.ts';

test('a percentile is one of the values', () => {
  const values = Array.from({ length: 100 }, (_, index) => 100 - index);
  assert.deepEqual(
    [0, 50, 90, 99, 100].map(percent => percentile(values, percent)),
    [1, 51, 91, 100, 100],
  );
  assert.equal(percentile([3, 1, 2], 50), 2);
  assert.throws(() => percentile([], 50), RangeError);
});

test('medians are taken over the rounds, and ratios within each round', () => {
  const rounds = [
    [{ mbPerSecond: 100 }, { mbPerSecond: 50 }],
    [{ mbPerSecond: 10 }, { mbPerSecond: 9 }],
    [{ mbPerSecond: 200 }, { mbPerSecond: 80 }],
  ];
  assert.deepEqual(summarize(rounds, true), [
    { metrics: { mbPerSecond: 100 }, ratios: {} },
    { metrics: { mbPerSecond: 50 }, ratios: { mbPerSecond: 0.5 } },
  ]);
  assert.deepEqual(summarize(rounds, false)[1]?.ratios, {});
});

test('what the Engine itself cannot have has no ratio', () => {
  const [, ours] = summarize([[{ p50Ms: 2 }, { p50Ms: 3, cpuMsPerExec: 1 }]], true);
  assert.deepEqual(ours, { metrics: { p50Ms: 3, cpuMsPerExec: 1 }, ratios: { p50Ms: 1.5 } });
});

test('each figure of each Engine is a table', () => {
  const result = { figure: 'stdout', of: 'SPDY v4', metrics: { mbPerSecond: 700 }, ratios: { mbPerSecond: 0.7 } };
  const results: Result[] = [
    { ...result, engine: 'stand-in' },
    { ...result, engine: 'dockerd' },
  ];
  assert.equal(
    describe(results),
    'stdout, stand-in\n          MB/s\nSPDY v4   700 (×0.70)\n\nstdout, dockerd\n          MB/s\nSPDY v4   700 (×0.70)\n',
  );
});
