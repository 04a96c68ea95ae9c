export interface TailLimits {
  readonly bytesPerSession: number;
  readonly bytesInAll: number;
}

/** What all sessions of the daemon together hold of the output of finished commands whose clients have not taken it yet. */
export class TailBudget {
  readonly limits: TailLimits;
  #held = 0;

  constructor(limits: TailLimits) {
    this.limits = limits;
  }

  /** One session's share; nothing is reserved yet. */
  open(): Tail {
    let mine = 0;
    return {
      hold: bytes => {
        mine += bytes;
        this.#held += bytes;
        if (mine > this.limits.bytesPerSession) {
          return `more than ${this.limits.bytesPerSession} bytes of it were left when the command exited`;
        }
        return this.#held > this.limits.bytesInAll
          ? `all clients together left more than ${this.limits.bytesInAll} bytes`
          : undefined;
      },
      release: () => {
        this.#held -= mine;
        mine = 0;
      },
    };
  }
}

export interface Tail {
  /** Counts bytes that now wait in memory; answers why they are too many, where they are. */
  hold(bytes: number): string | undefined;
  /** The client has taken everything, or is gone. */
  release(): void;
}
