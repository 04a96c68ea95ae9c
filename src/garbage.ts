import { setFlagsFromString } from 'node:v8';

/*
 * Suits V8's garbage collector to a relay, before the heap has grown.
 *
 * A relay's garbage are chunks of 64 KiB that are dead as soon as they have been written on. V8 counts them as external memory, and
 * once 64 MB of them have come it marks the whole heap, twenty times a gigabyte, which costs more CPU than the relaying itself. The
 * collection of young garbage frees them for next to nothing, if only it comes before: so the young generation stays at its first
 * 1 MB instead of growing to 16, is collected before it is half full, by one thread, and what is freed is given back at once. The
 * daemon also stays tens of MiB smaller for it. Figures are in docs/performance.md.
 */
for (const flag of [
  '--semi-space-growth-factor=1',
  '--minor-gc-task-trigger=40',
  '--no-concurrent-array-buffer-sweeping',
  '--no-parallel-scavenge',
]) {
  setFlagsFromString(flag);
}
