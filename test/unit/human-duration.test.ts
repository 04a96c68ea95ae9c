import assert from 'node:assert/strict';
import { test } from 'node:test';
import { humanDuration } from '../../src/human-duration.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const YEAR = 365 * DAY;

// The table of TestHumanDuration in k8s.io/apimachinery/pkg/util/duration.
const CASES: [ms: number, text: string][] = [
  [-2 * SECOND, '<invalid>'],
  [-1.5 * SECOND, '0s'],
  [0, '0s'],
  [SECOND, '1s'],
  [70 * SECOND, '70s'],
  [190 * SECOND, '3m10s'],
  [70 * MINUTE, '70m'],
  [47 * HOUR, '47h'],
  [49 * HOUR, '2d1h'],
  [(8 * 24 + 2) * HOUR, '8d'],
  [367 * DAY, '367d'],
  [(365 * 2 + 25) * DAY, '2y25d'],
  [(365 * 8 + 2) * DAY, '8y'],
  [2 * MINUTE - SECOND, '119s'],
  [2 * MINUTE, '2m'],
  [10 * MINUTE - SECOND, '9m59s'],
  [10 * MINUTE, '10m'],
  [3 * HOUR, '3h'],
  [8 * HOUR - SECOND, '7h59m'],
  [48 * HOUR, '2d'],
  [2 * YEAR, '2y'],
];

for (const [ms, text] of CASES) test(`${ms} ms is ${text}`, () => assert.equal(humanDuration(ms), text));
