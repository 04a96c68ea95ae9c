import type { SessionEnded } from './end-reason.ts';

type Listener = (reason: SessionEnded) => void;

/**
 * The end of a container, which each of its sessions listens for. No AbortSignal: that searches all its listeners whenever one is
 * added or removed, and a container may have thousands of sessions.
 */
export class ContainerEnd {
  readonly #listeners = new Set<Listener>();
  #reason: SessionEnded | undefined;

  /** Why its sessions end; undefined while it runs. */
  get reason(): SessionEnded | undefined {
    return this.#reason;
  }

  /** How many listen. */
  get listeners(): number {
    return this.#listeners.size;
  }

  /** `listener` is called once, when the container ends; at once, where it has. Returns what takes it away again. */
  listen(listener: Listener): () => void {
    if (this.#reason !== undefined) listener(this.#reason);
    else this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The container has stopped, or has been removed. Only the first reason counts. */
  came(reason: SessionEnded): void {
    this.#reason ??= reason;
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) listener(this.#reason);
  }
}
