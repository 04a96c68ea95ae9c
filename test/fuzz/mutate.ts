import type { Random } from '../support/random.ts';

/** Inputs grow to this where a piece is repeated, which finds what takes quadratic time; else they stay short. */
const MAX_REPEATED_BYTES = 48 * 1024;
const MAX_BYTES = 2 * 1024;
/** One input in so many is made of repetitions: they are slow to check. */
const REPEAT_ONE_IN = 400;
const EDGES = [0, 1, 2, 3, 4, 7, 8, 16, 31, 64, 127, 128, 254, 255];

/** What mutations draw from beside chance. */
export interface Material {
  readonly corpus: readonly Buffer[];
  readonly tokens: readonly Buffer[];
}

/** A changed copy of an input of the corpus. */
export function mutated({ corpus, tokens }: Material, random: Random): Buffer {
  const empty = Buffer.alloc(0);
  let bytes = corpus.length === 0 ? empty : random.pick(corpus);
  if (random.below(REPEAT_ONE_IN) === 0) return repeated(bytes, [...tokens, empty], random);
  for (let changes = 1 + random.below(4); changes > 0; changes -= 1) {
    const at = random.below(bytes.length + 1);
    const end = Math.min(bytes.length, at + random.below(random.pick([4, 16, 64])));
    const replace = (from: number, to: number, ...inserted: Buffer[]): Buffer =>
      Buffer.concat([bytes.subarray(0, from), ...inserted, bytes.subarray(to)]);
    const token = tokens.length === 0 ? empty : random.pick(tokens);
    switch (random.below(9)) {
      case 0:
        bytes = replace(at, at + 1, Buffer.from([(bytes[at] ?? 0) ^ (1 << random.below(8))]));
        break;
      case 1:
        bytes = replace(at, at + 1, Buffer.from([random.pick(EDGES)]));
        break;
      case 2:
        bytes = replace(at, at, Buffer.from([random.below(256)]));
        break;
      case 3:
        bytes = replace(at, end);
        break;
      case 4:
        bytes = replace(at, at, bytes.subarray(at, end)); // doubles a piece
        break;
      case 5:
        bytes = replace(at, at, token);
        break;
      case 6:
        bytes = replace(at, Math.min(bytes.length, at + token.length), token);
        break;
      case 7: {
        const other = corpus.length === 0 ? empty : random.pick(corpus);
        bytes = replace(at, bytes.length, other.subarray(random.below(other.length + 1)));
        break;
      }
      default: {
        const from = random.below(bytes.length + 1);
        bytes = replace(at, at, bytes.subarray(from, from + random.below(32))); // copies a piece elsewhere
      }
    }
  }
  return bytes.subarray(0, MAX_BYTES);
}

function repeated(bytes: Buffer, tokens: readonly Buffer[], random: Random): Buffer {
  const at = random.below(bytes.length + 1);
  const token = random.pick(tokens);
  const piece = token.length > 0 ? token : bytes.subarray(at, at + 1 + random.below(4));
  const times = Math.floor(MAX_REPEATED_BYTES / Math.max(1, piece.length));
  const [before, after] = [bytes.subarray(0, Math.min(at, 1024)), bytes.subarray(at, at + 1024)];
  return Buffer.concat([before, ...Array<Buffer>(times).fill(piece), after]).subarray(0, MAX_REPEATED_BYTES);
}

/** A shorter input that still fails, or the same one; what fails by being slow is not shortened for long. */
export async function shrunk(
  input: Buffer,
  fails: (candidate: Buffer) => Promise<boolean>,
  maxMs = 10_000,
): Promise<Buffer> {
  const ends = performance.now() + maxMs;
  let smallest = input;
  for (let size = Math.ceil(input.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < smallest.length && performance.now() < ends;) {
      const candidate = Buffer.concat([smallest.subarray(0, at), smallest.subarray(at + size)]);
      if (await fails(candidate)) smallest = candidate;
      else at += size;
    }
  }
  return Buffer.from(smallest);
}
