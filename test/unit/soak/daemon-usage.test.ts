import assert from 'node:assert/strict';
import { test } from 'node:test';
import { slopePerMinute, type Sample } from '../../../scripts/soak/daemon-usage.ts';
import { slopesOf } from '../../../scripts/soak/summary.ts';

function sample(minutes: number, rssKib: number): Sample {
  return { minutes, rssKib, usedKib: rssKib, fds: 0, sockets: 0, timers: 0 };
}

test('the slope is that of the line through the points, whatever lies around it', () => {
  const line = [0, 1, 2, 3].map(minutes => sample(minutes, 1000 + 50 * minutes));
  assert.equal(
    slopePerMinute(line, ({ rssKib }) => rssKib),
    50,
  );
  const noisy = [0, 1, 2, 3].map(minutes => sample(minutes, 1000 + (minutes % 3 === 0 ? 10 : -10)));
  assert.equal(
    slopePerMinute(noisy, ({ rssKib }) => rssKib),
    0,
  );
  assert.equal(
    slopePerMinute([sample(1, 7)], ({ rssKib }) => rssKib),
    0,
  );
});

test('the first fifth of a run is its warm-up, and not in the slope', () => {
  const minutes = Array.from({ length: 11 }, (_, index) => index);
  const samples = minutes.map(minute => sample(minute, minute < 2 ? 0 : 5000));
  assert.equal(slopesOf(samples, 10).usedKib, 0);
});
