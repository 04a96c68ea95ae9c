const FULL = process.env.EXECLET_GATES === 'full';

/**
 * How often a long gate runs: its full count under `npm run gates`, a share of it under `npm test`: a tenth, at least 3.
 */
export function gateCount(full: number): number {
  return FULL ? full : Math.max(3, Math.ceil(full / 10));
}

/** A count, a size or a duration of a long gate: `full` under `npm run gates`, `short` under `npm test`. */
export function gateSize({ full, short }: { full: number; short: number }): number {
  return FULL ? full : short;
}

/** Runs the task for 0 … count-1, at most `concurrency` at a time; rejects with the first failure. */
export async function times(count: number, concurrency: number, task: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) {
      next += 1;
      await task(next - 1);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}
