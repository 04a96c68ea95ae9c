import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/*
 * Suits V8's garbage collector to a relay.
 *
 * A relay's garbage are chunks of 64 KiB that are dead as soon as they have been written on. V8 counts them as external memory, and
 * once 64 MB of them have come it marks the whole heap, twenty times a gigabyte, which costs more CPU than the relaying itself. A
 * collection of young garbage frees them for next to nothing, so we ask for one before that. And the young generation stays at its
 * first 1 MB instead of growing to 16, which keeps the daemon tens of MiB smaller.
 *
 * What is freed then, glibc would give back to the kernel, to get it again page by page. It keeps twice the size of the largest block that
 * was ever freed (mallopt(3), the dynamic threshold), so one is freed here that was never touched.
 *
 * Figures are in docs/decisions/2026-11-young-garbage.md.
 */

/** Chunks for which their collection is cheap, and which a processor's cache still holds when they are used again. */
const COLLECTED_AFTER_BYTES = 4 * 1024 * 1024;

setFlagsFromString('--semi-space-growth-factor=1');
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as NodeJS.GCFunction;
let bytes = 0;

Buffer.allocUnsafeSlow(COLLECTED_AFTER_BYTES);
collect({ type: 'minor' });

/** A chunk of so many bytes has been read and passed on: it will soon be garbage. */
export function chunkPassed(chunkBytes: number): void {
  bytes += chunkBytes;
  if (bytes < COLLECTED_AFTER_BYTES) return;
  bytes = 0;
  collect({ type: 'minor' });
}
