/** Unanswered pings in a row, an interval each, that may end a session. */
export const MISSED_PINGS = 2;

/** What has become of one ping: something was heard after it, nothing was, or the session was ended because of it. */
export type KeepaliveResult = 'answered' | 'missed' | 'ended';

/** What an interval has shown. */
export interface Interval {
  /** Something has come from the client, be it no answer to a ping. */
  readonly heard: boolean;
  /** We do not read from the client, so its answers are not seen. */
  readonly paused: boolean;
  /** Something that we wrote has not even been taken by the kernel. */
  readonly blocked: boolean;
}

/** Whether the client is there. `unknown`: it is silent, and pings cannot tell why. */
export type Liveness = 'there' | 'unknown' | 'gone';

/**
 * Judges by pings whether a client is still there, one tick an interval.
 *
 * A client whose reader is paused (`kubectl exec … | less`) answers no ping, since the pings lie behind the output that nobody
 * reads. So silence counts only where all output has been read: output that came before an answered ping has been. And it
 * never counts while we ourselves do not read.
 */
export class KeepaliveRule {
  #lastPing = 0;
  #lastAnswer = 0;
  /** The first ping behind the newest output; undefined where none has been sent since. */
  #pingBehindOutput: number | undefined;
  #unreadOutput = false;
  /** A ping was sent since the last tick. */
  #pinged = false;
  #missed = 0;

  /** Something was written that may keep the client from answering until somebody reads it. */
  outputWritten(): void {
    this.#unreadOutput = true;
    this.#pingBehindOutput = undefined;
  }

  /** The number of the ping to be sent next: 1, 2, 3 … */
  get nextPing(): number {
    return this.#lastPing + 1;
  }

  /** That ping has been sent. */
  pingSent(): void {
    this.#lastPing += 1;
    this.#pingBehindOutput ??= this.#lastPing;
    this.#pinged = true;
  }

  /** An answer has come. Answers keep the order of their pings; false for one that answers none of ours, and says nothing. */
  answered(ping: number): boolean {
    if (!(ping > this.#lastAnswer && ping <= this.#lastPing)) return false;
    this.#lastAnswer = ping;
    if (this.#pingBehindOutput !== undefined && ping >= this.#pingBehindOutput) this.#unreadOutput = false;
    return true;
  }

  /** Judges the interval that has passed; the result is that of the ping it began with, where there was one. */
  tick({ heard, paused, blocked }: Interval): { liveness: Liveness; result: KeepaliveResult | undefined } {
    const silent = !heard && (blocked || this.#lastAnswer < this.#lastPing);
    this.#missed = silent && !paused ? this.#missed + 1 : 0;
    const gone = this.#missed >= MISSED_PINGS && !this.#unreadOutput;
    const result = gone ? 'ended' : this.#pinged ? (silent ? 'missed' : 'answered') : undefined;
    this.#pinged = false;
    if (gone) return { liveness: 'gone', result };
    return { liveness: silent && (paused || this.#unreadOutput) ? 'unknown' : 'there', result };
  }
}
