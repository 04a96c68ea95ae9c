import { AnswerCache, type AnswerSource } from './answer-cache.ts';
import type { ApiReviews } from './api-reviews.ts';
import type { Caller } from './caller.ts';

/**
 * How long a token that the API server does not know stays unknown, at most.
 *
 * The kubelet keeps such an answer as long as a good one, 2 minutes, but only where the API server gave no error with it,
 * which it does for most bad tokens: those it asks about each time. 10 seconds take the load of a client that tries again
 * and again, and soon let in one whose token became good (a clock that was behind, a webhook that was down).
 */
const UNKNOWN_TTL_MS = 10_000;

/**
 * The longest token that is asked about. Whoever shows one has proved nothing yet, and over a thousand of them may wait.
 * Real ones fit into the 8 KiB that proxies allow a header.
 */
const MAX_TOKEN_BYTES = 32 * 1024;

/** Authenticates bearer tokens by asking the API server, as the kubelet does with `authentication.webhook`. */
export class TokenReviewer {
  readonly #reviews: Pick<ApiReviews, 'reviewToken'>;
  readonly #cache: AnswerCache<Caller | undefined>;

  constructor({
    reviews,
    cacheTtlMs,
    onAnswer,
    now,
  }: {
    reviews: Pick<ApiReviews, 'reviewToken'>;
    cacheTtlMs: number;
    onAnswer?: (answer: { kind: 'token'; result: AnswerSource }) => void;
    now?: () => number;
  }) {
    this.#reviews = reviews;
    this.#cache = new AnswerCache({
      allows: caller => caller !== undefined,
      allowedTtlMs: cacheTtlMs,
      deniedTtlMs: Math.min(cacheTtlMs, UNKNOWN_TTL_MS),
      onAnswer: result => onAnswer?.({ kind: 'token', result }),
      ...(now && { now }),
    });
  }

  /**
   * Whose token it is; undefined: nobody's.
   *
   * @throws {ExecletError} RuntimeUnavailable when the API server cannot be asked
   */
  async authenticate(token: string): Promise<Caller | undefined> {
    if (token === '' || Buffer.byteLength(token) > MAX_TOKEN_BYTES) return undefined;
    return this.#cache.ask(token, () => this.#reviews.reviewToken(token));
  }
}
