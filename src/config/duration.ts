const UNITS_MS: ReadonlyMap<string, number> = new Map([
  ['ns', 1e-6],
  ['us', 1e-3],
  ['µs', 1e-3], // U+00B5 and U+03BC look alike, and Go takes both
  ['μs', 1e-3],
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
]);

const PART = /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/y;

/**
 * Milliseconds of a duration as Go's `time.ParseDuration` reads it (`1m30s`, `1.5h`, `300ms`), without a sign; undefined for
 * anything else, a bare number too: it would leave the unit to guessing.
 */
export function parseDuration(text: string): number | undefined {
  let milliseconds = 0;
  PART.lastIndex = 0;
  let end = 0;
  while (end < text.length) {
    const [, number, unit = ''] = PART.exec(text) ?? [];
    const unitMs = UNITS_MS.get(unit);
    if (unitMs === undefined) return undefined;
    milliseconds += Number(number) * unitMs;
    end = PART.lastIndex;
  }
  return text === '' ? undefined : milliseconds;
}
