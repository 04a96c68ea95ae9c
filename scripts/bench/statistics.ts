/** Of at least one value; of the two in the middle the higher one. */
export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/** The least value that so many per cent of all are not above. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const value = sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))];
  if (value === undefined) throw new RangeError('no values');
  return value;
}
