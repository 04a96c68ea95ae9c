/** Numbers that look random and are the same for the same seed (mulberry32), so that what fails once fails again. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A generator of its own for each number, so that one session can be drawn again without those before it. */
  static forNumber(seed: number, number: number): Random {
    return new Random(new Random(seed).#bits() ^ new Random(number + 0x9e3779b9).#bits());
  }

  /** From 0 up to, and without, 1. */
  fraction(): number {
    return this.#bits() / 0x1_0000_0000;
  }

  /** A whole number from `least` to `most`, both included. */
  integer(least: number, most: number): number {
    return least + Math.floor(this.fraction() * (most - least + 1));
  }

  /** A whole number from 0 up to, and without, `limit`. */
  below(limit: number): number {
    return Math.floor(this.fraction() * limit);
  }

  /** The same, small ones much more often. */
  small(limit: number): number {
    return Math.floor(this.fraction() ** 6 * limit);
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  pick<T>(choices: readonly T[]): T {
    const choice = choices[this.below(choices.length)];
    if (choice === undefined) throw new RangeError('nothing to pick from');
    return choice;
  }

  /** From `least` (1 or more) to `most`, each power of ten as often as any other. */
  magnitude(least: number, most: number): number {
    return Math.floor(least * (most / least) ** this.fraction());
  }

  shuffled<T>(items: readonly T[]): T[] {
    return items
      .map(item => ({ item, at: this.fraction() }))
      .sort((one, other) => one.at - other.at)
      .map(({ item }) => item);
  }

  #bits(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }
}
