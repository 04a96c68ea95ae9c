import assert from 'node:assert/strict';
import { crc32 } from 'node:zlib';
import type fc from 'fast-check';
import { byteByByte, cut } from '../support/cuts.ts';

/**
 * A decoder under attack. One definition serves the property tests, the long-running `npm run fuzz`, and the replay of its
 * corpus and past crashes.
 */
export interface FuzzTarget {
  /** As `--only` names it, and the folders of its corpus and crashes. */
  readonly name: string;
  /** The files below `src/` whose branches are to be reached. */
  readonly sources: readonly string[];
  /** What inputs are made of; random bytes seldom say `Width`. */
  readonly tokens: readonly (string | Buffer)[];
  /** Inputs that are nearly right, where a soup of tokens does not get far. */
  readonly nearlyRight?: fc.Arbitrary<Buffer | string>;
  /**
   * Feeds the input, a peer's bytes, to the decoder and checks all that must be true whatever they are. Whatever it throws
   * is a finding. Deterministic.
   */
  check(input: Buffer): void | Promise<void>;
}

/** An input that keeps this thread busy for longer is a finding too: every session of the daemon would wait for it. */
const MAX_CHECK_MS = 1_000;
/** Past this single bytes take long, and say nothing that shorter inputs do not. */
const MAX_SINGLE_BYTES = 2 * 1024;

/** Checks one input, its time included. */
export async function check(target: FuzzTarget, input: Buffer): Promise<void> {
  const before = process.threadCpuUsage();
  await target.check(input);
  const { user, system } = process.threadCpuUsage(before);
  const ms = (user + system) / 1000;
  assert.ok(ms <= MAX_CHECK_MS, `${input.length} bytes took ${Math.round(ms)} ms`);
}

/** Ways to cut the input, the same ones each time: nowhere, everywhere, and at some places. */
export function splitsOf(input: Buffer): Buffer[][] {
  let random = crc32(input);
  const place = (): number => (random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0) >>> 4;
  const some = [1, 3, 9].map(count => cut(input, Array.from({ length: count }, place)));
  return [[input], ...(input.length <= MAX_SINGLE_BYTES ? [byteByByte(input)] : []), ...some];
}

/** The same result for every split of the input; answers that of the whole. */
export function sameForEverySplit<T>(input: Buffer, decode: (chunks: readonly Buffer[]) => T): T {
  const whole = decode([input]);
  for (const chunks of splitsOf(input).slice(1)) {
    assert.deepEqual(
      decode(chunks),
      whole,
      `cut into pieces of ${chunks.map(({ length }) => length).join(', ')} bytes`,
    );
  }
  return whole;
}

/** What `decode` returns, or the error, which must be of the documented class: any other passes through as a finding. */
export function outcomeOf<T, E extends Error>(
  decode: () => T,
  documented: abstract new (...args: never[]) => E,
): { readonly value: T } | { readonly error: E } {
  try {
    return { value: decode() };
  } catch (error) {
    if (error instanceof documented) return { error };
    throw error;
  }
}
