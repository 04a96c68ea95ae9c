import type { SessionEnded } from './end-reason.ts';

/** The live sessions of the daemon: what shutdown must end and wait for. */
export class SessionTable {
  readonly #live = new Map<AbortController, Promise<void>>();

  /** Keeps the session until `done` settles. */
  add(ending: AbortController, done: Promise<void>): void {
    const forgotten = done.finally(() => this.#live.delete(ending));
    this.#live.set(ending, forgotten);
  }

  /** Ends every session with the reason and resolves when the last connection is closed. */
  async endAll(reason: SessionEnded): Promise<void> {
    for (const ending of this.#live.keys()) ending.abort(reason);
    await Promise.all(this.#live.values());
  }
}
