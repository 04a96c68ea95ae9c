/** Waits for the event at most that long. True when it came, false when the time has passed; leaves no timer behind. */
export function within(timeoutMs: number, event: Promise<unknown>): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(false), timeoutMs).unref();
  event.then(
    () => {
      clearTimeout(timer);
      resolve(true);
    },
    (cause: unknown) => {
      clearTimeout(timer);
      reject(cause);
    },
  );
  return promise;
}

/** Resolves when the signal aborts. The listener stays until then, so the signal should not outlive its owner for long. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise(resolve => signal.addEventListener('abort', () => resolve(), { once: true }));
}
