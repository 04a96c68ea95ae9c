import { createHmac, randomBytes } from 'node:crypto';
import { ExecletError } from '../errors.ts';

/** Where an answer came from. `cached` also where it came from a call that was under way; `error`: a call failed or found no place. */
export type AnswerSource = 'allowed' | 'denied' | 'error' | 'cached';

export interface AnswerCacheOptions<Answer> {
  /** Which of two lives and shelves an answer gets. */
  readonly allows: (answer: Answer) => boolean;
  /** How long an answer counts, from when it was asked for. 0: not at all. */
  readonly allowedTtlMs: number;
  readonly deniedTtlMs: number;
  /** Half of the places are for either kind of answer; in each half the oldest gives way. */
  readonly maxEntries?: number;
  readonly maxUnderWay?: number;
  /** How many may wait for one of the calls under way to end, and how long one has waited in vain. */
  readonly maxWaiting?: number;
  readonly maxWaitMs?: number;
  /** Once for every question. */
  readonly onAnswer?: (source: AnswerSource) => void;
  /** Milliseconds on a clock that nobody sets. */
  readonly now?: () => number;
}

interface Kept<Answer> {
  readonly answer: Answer;
  readonly expiresAt: number;
}

interface Waiting {
  readonly since: number;
  readonly start: () => void;
  readonly refuse: (error: ExecletError) => void;
}

/**
 * Remembers what the API server has answered, and keeps a flood of new questions away from it.
 *
 * Equal questions share one call, so many calls are under way at most, so many more wait; failures are not remembered.
 * Allowed and denied are kept apart: whoever sends made-up tokens pushes out the answers to other made-up tokens, and
 * nobody who has been let in.
 */
export class AnswerCache<Answer> {
  readonly #allows: (answer: Answer) => boolean;
  readonly #allowed: Shelf<Answer>;
  readonly #denied: Shelf<Answer>;
  readonly #maxUnderWay: number;
  readonly #maxWaiting: number;
  readonly #maxWaitMs: number;
  readonly #onAnswer: (source: AnswerSource) => void;
  readonly #now: () => number;
  // A question may be a token, which must not lie about in memory for minutes; a digest with a key that dies with the
  // process says nothing about it.
  readonly #digestKey = randomBytes(32);
  readonly #calls = new Map<string, Promise<Answer>>();
  readonly #waiting: Waiting[] = [];
  #underWay = 0;

  constructor({
    allows,
    allowedTtlMs,
    deniedTtlMs,
    maxEntries = 4096,
    maxUnderWay = 64,
    maxWaiting = 1024,
    maxWaitMs = 10_000,
    onAnswer = () => undefined,
    now = () => performance.now(),
  }: AnswerCacheOptions<Answer>) {
    this.#allows = allows;
    this.#allowed = new Shelf(allowedTtlMs, Math.ceil(maxEntries / 2));
    this.#denied = new Shelf(deniedTtlMs, Math.floor(maxEntries / 2));
    this.#maxUnderWay = maxUnderWay;
    this.#maxWaiting = maxWaiting;
    this.#maxWaitMs = maxWaitMs;
    this.#onAnswer = onAnswer;
    this.#now = now;
  }

  /**
   * The answer to the question: one that is still good, or what `call` says. `call` must end by itself: those who wait for
   * a place look at the clock only when one ends.
   *
   * @throws {ExecletError} RuntimeUnavailable when too many wait already; and whatever `call` throws
   */
  ask(question: string, call: () => Promise<Answer>): Promise<Answer> {
    const digest = createHmac('sha256', this.#digestKey).update(question).digest('base64');
    const now = this.#now();
    const kept = this.#allowed.get(digest, now) ?? this.#denied.get(digest, now);
    if (kept !== undefined) {
      this.#onAnswer('cached');
      return Promise.resolve(kept.answer);
    }
    const shared = this.#calls.get(digest);
    if (shared !== undefined) {
      this.#onAnswer('cached');
      return shared;
    }
    const own = this.#answer(digest, call).finally(() => this.#calls.delete(digest));
    this.#calls.set(digest, own);
    return own;
  }

  async #answer(digest: string, call: () => Promise<Answer>): Promise<Answer> {
    try {
      await this.#takePlace();
      try {
        const askedAt = this.#now();
        const answer = await call();
        const allowed = this.#allows(answer);
        (allowed ? this.#allowed : this.#denied).keep(digest, answer, askedAt);
        this.#onAnswer(allowed ? 'allowed' : 'denied');
        return answer;
      } finally {
        this.#leavePlace();
      }
    } catch (error) {
      this.#onAnswer('error');
      throw error;
    }
  }

  async #takePlace(): Promise<void> {
    if (this.#underWay < this.#maxUnderWay) {
      this.#underWay++;
      return;
    }
    if (this.#waiting.length >= this.#maxWaiting) throw overloaded();
    await new Promise<void>((start, refuse) => this.#waiting.push({ since: this.#now(), start, refuse }));
  }

  /** Hands the place to the first who has not waited for too long. */
  #leavePlace(): void {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      if (this.#now() - next.since <= this.#maxWaitMs) {
        next.start();
        return;
      }
      next.refuse(overloaded());
    }
    this.#underWay--;
  }
}

/** Answers of one kind by digest, the oldest first. */
class Shelf<Answer> {
  readonly #ttlMs: number;
  readonly #maxEntries: number;
  readonly #entries = new Map<string, Kept<Answer>>();

  constructor(ttlMs: number, maxEntries: number) {
    this.#ttlMs = ttlMs;
    this.#maxEntries = maxEntries;
  }

  get(digest: string, now: number): Kept<Answer> | undefined {
    const kept = this.#entries.get(digest);
    if (kept === undefined || now < kept.expiresAt) return kept;
    this.#entries.delete(digest);
    return undefined;
  }

  keep(digest: string, answer: Answer, askedAt: number): void {
    this.#entries.set(digest, { answer, expiresAt: askedAt + this.#ttlMs });
    if (this.#entries.size <= this.#maxEntries) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      return;
    }
  }
}

function overloaded(): ExecletError {
  return new ExecletError('RuntimeUnavailable', 'too many questions wait for the API server; try again in a moment');
}
