/** Numbers that look random and are the same in every run, so that what fails once fails again. */
export interface Random {
  /** An integer from 0 to below `limit`. */
  below(limit: number): number;
  /** The same, small ones much more often. */
  small(limit: number): number;
  /** True that often, of 1. */
  chance(share: number): boolean;
}

/** A generator of its own for each seed (mulberry32). */
export function randomFrom(seed: number): Random {
  let state = Math.imul(seed + 1, 0x9e3779b9);
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    below: limit => Math.floor(next() * limit),
    small: limit => Math.floor(next() ** 6 * limit),
    chance: share => next() < share,
  };
}
