import type { SessionEnded } from './end-reason.ts';

/** The live sessions of the daemon: what shutdown must end and wait for. */
export class SessionTable {
  readonly #live = new Map<AbortController, Promise<void>>();
  #allEnded: SessionEnded | undefined;

  /** Keeps the session until `done` settles. One that comes after `endAll`, from a client that was being accepted, is ended too. */
  add(ending: AbortController, done: Promise<void>): void {
    const forgotten = done.finally(() => this.#live.delete(ending));
    this.#live.set(ending, forgotten);
    if (this.#allEnded !== undefined) ending.abort(this.#allEnded);
  }

  /** Ends every session with the reason, later ones too, and resolves when the last connection is closed. */
  async endAll(reason: SessionEnded): Promise<void> {
    this.#allEnded = reason;
    for (const ending of this.#live.keys()) ending.abort(reason);
    while (this.#live.size > 0) await Promise.all(this.#live.values());
  }
}
