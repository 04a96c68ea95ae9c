import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Insides } from './daemon-insides.ts';
import type { Daemon } from './daemon.ts';

/** Longer than Node keeps a connection to the Engine that it does not use. */
const IDLE_CONNECTION_MS = 6_000;
const LOOK_INTERVAL_MS = 200;

export interface QuietOptions {
  readonly withinMs: number;
  /** What must hold beside. */
  readonly isFree?: () => Promise<boolean>;
  /** What the daemon is to be like again. */
  readonly before?: Insides;
}

/**
 * What the daemon holds once nothing is under way. Nobody tells when that is, so it is looked at again and again: until it is as
 * `before`, or, without one, until it has held no less for longer than idle connections to the Engine live. At the latest after
 * `withinMs`, as it is then.
 */
export async function quietInsides(
  daemon: Pick<Daemon, 'insides'>,
  { withinMs, isFree = () => Promise.resolve(true), before }: QuietOptions,
): Promise<Insides> {
  const deadline = Date.now() + withinMs;
  let least = Infinity;
  let leastAt = Date.now();
  for (;;) {
    const insides = await daemon.insides();
    const held = insides.fds + (insides.objects.EventEmitter ?? 0);
    if (held < least) [least, leastAt] = [held, Date.now()];
    const settled = held === least && Date.now() - leastAt > IDLE_CONNECTION_MS;
    const calm = before === undefined ? settled : isDeepStrictEqual(countsOf(insides), countsOf(before));
    if ((calm && (await isFree())) || Date.now() > deadline) return insides;
    await delay(LOOK_INTERVAL_MS);
  }
}

/** What must be equal before and after. */
export function countsOf({ resources, fds, goneListeners, objects }: Insides): unknown {
  return { resources, fds, goneListeners, objects };
}
