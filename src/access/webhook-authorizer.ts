import { AnswerCache, type AnswerSource } from './answer-cache.ts';
import type { ApiReviews } from './api-reviews.ts';
import {
  questionOf,
  type AuthorizedAction,
  type AuthorizationResource,
  type Authorizer,
  type Decision,
} from './authorization.ts';
import type { Caller } from './caller.ts';

/** Has the API server decide, by a SubjectAccessReview for each question that has no good answer yet. */
export class WebhookAuthorizer implements Authorizer {
  readonly #reviews: Pick<ApiReviews, 'reviewAccess'>;
  readonly #subject: { resource: AuthorizationResource; nodeName: string };
  readonly #cache: AnswerCache<Decision>;

  constructor({
    reviews,
    resource,
    nodeName,
    cacheAuthorizedTtlMs,
    cacheUnauthorizedTtlMs,
    onAnswer,
    now,
  }: {
    reviews: Pick<ApiReviews, 'reviewAccess'>;
    resource: AuthorizationResource;
    nodeName: string;
    cacheAuthorizedTtlMs: number;
    cacheUnauthorizedTtlMs: number;
    onAnswer?: (answer: { kind: 'access'; result: AnswerSource }) => void;
    now?: () => number;
  }) {
    this.#reviews = reviews;
    this.#subject = { resource, nodeName };
    this.#cache = new AnswerCache({
      allows: decision => decision.allowed,
      allowedTtlMs: cacheAuthorizedTtlMs,
      deniedTtlMs: cacheUnauthorizedTtlMs,
      onAnswer: result => onAnswer?.({ kind: 'access', result }),
      ...(now && { now }),
    });
  }

  async decide(caller: Caller, action: AuthorizedAction): Promise<Decision> {
    const question = questionOf(action, this.#subject);
    // All that the API server is told, and nothing else: the proof and the command change no answer.
    const { name, uid, groups, extra } = caller;
    const asked = JSON.stringify([name, uid ?? null, groups, [...extra], question]);
    return this.#cache.ask(asked, () => this.#reviews.reviewAccess(caller, question));
  }
}
