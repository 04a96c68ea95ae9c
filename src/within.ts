import { setTimeout as delay } from 'node:timers/promises';

/** Waits for the event at most that long. True when it came, false when the time has passed; leaves no timer behind. */
export async function within(timeoutMs: number, event: Promise<unknown>): Promise<boolean> {
  const timer = new AbortController();
  const late = delay(timeoutMs, false, { signal: timer.signal, ref: false }).catch(() => false);
  try {
    return await Promise.race([event.then(() => true), late]);
  } finally {
    timer.abort();
  }
}

/** Resolves when the signal aborts. The listener stays until then, so the signal should not outlive its owner for long. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise(resolve => signal.addEventListener('abort', () => resolve(), { once: true }));
}
