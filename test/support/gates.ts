/**
 * How often a long gate runs: its full count under `npm run gates`, a share of it under `npm test`: a tenth (at least 3) unless
 * the gate names another.
 */
export function gateCount(full: number, share = Math.max(3, Math.ceil(full / 10))): number {
  return process.env.EXECLET_GATES === 'full' ? full : share;
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
