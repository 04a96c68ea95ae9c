import { setTimeout as delay } from 'node:timers/promises';
// Types only: the library itself costs a start up to a second and some 80 MiB, so it is loaded when the first webhook is opened.
import type * as ClientNode from '@kubernetes/client-node';
import { z } from 'zod';
import { ExecletError } from '../errors.ts';
import { VERSION } from '../version.ts';
import { groupsOf, type Caller } from './caller.ts';
import type { Decision, Question } from './authorization.ts';
import { errorCode, openApiCredential, type ApiCredential } from './api-credential.ts';
import { AnswerTooLong, ReviewTransport, StaleConnection } from './review-transport.ts';

interface Review {
  readonly apiVersion: string;
  readonly kind: string;
  readonly resource: string;
  /** What cannot be checked when it fails. */
  readonly subject: string;
}

const TOKEN_REVIEW = {
  apiVersion: 'authentication.k8s.io/v1',
  kind: 'TokenReview',
  resource: 'tokenreviews.authentication.k8s.io',
  subject: 'the token',
} as const satisfies Review;

const ACCESS_REVIEW = {
  apiVersion: 'authorization.k8s.io/v1',
  kind: 'SubjectAccessReview',
  resource: 'subjectaccessreviews.authorization.k8s.io',
  subject: 'what the caller may do',
} as const satisfies Review;

// client-node's types promise these; nobody checks them but us. Go writes a missing list as null.
const tokenReview = z.object({
  apiVersion: z.literal(TOKEN_REVIEW.apiVersion),
  kind: z.literal(TOKEN_REVIEW.kind),
  status: z.discriminatedUnion('authenticated', [
    z.object({
      authenticated: z.literal(true),
      user: z.object({
        username: z.string().min(1),
        uid: z.string().nullish(),
        groups: z.array(z.string()).nullish(),
        extra: z.record(z.string(), z.array(z.string()).nullable()).nullish(),
      }),
    }),
    // Go leaves false out.
    z.object({ authenticated: z.literal(false).optional() }),
  ]),
});

const accessReview = z.object({
  apiVersion: z.literal(ACCESS_REVIEW.apiVersion),
  kind: z.literal(ACCESS_REVIEW.kind),
  status: z.object({
    allowed: z.boolean(),
    denied: z.boolean().nullish(),
    reason: z.string().nullish(),
    evaluationError: z.string().nullish(),
  }),
});

/** Names us in the API server's audit log. */
const USER_AGENT = `execlet/${VERSION}`;

/** Longer reasons are cut: they go into a Status, a log line and a cache. */
const MAX_REASON_CHARS = 1024;

/** Before the second and last attempt: the first pause of the kubelet's own webhooks. */
const RETRY_PAUSE_MS = 500;

/** Why a review has no answer, in words that hold nothing of the request, the answer or a credential. */
class ReviewProblem extends Error {
  /** When a second attempt may do better; undefined: never. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, { retryAfterMs }: { retryAfterMs?: number } = {}) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * Asks the API server who a token belongs to and who may do what. One call a question; AnswerCache is what spares it some.
 *
 * Whatever goes wrong is RuntimeUnavailable, with a text of our own and no cause: client-node's exceptions hold bodies and
 * headers, and with them tokens.
 */
export class ApiReviews {
  readonly #library: typeof ClientNode;
  readonly #credential: ApiCredential;
  readonly #timeoutMs: number;
  readonly #onDate: ((date: Date) => void) | undefined;
  readonly #transport = new ReviewTransport();
  readonly #underWay = new Set<AbortController>();
  readonly #authentication: ClientNode.AuthenticationV1Api;
  readonly #authorization: ClientNode.AuthorizationV1Api;

  private constructor(
    library: typeof ClientNode,
    credential: ApiCredential,
    { timeoutMs, onDate }: { timeoutMs: number; onDate: ((date: Date) => void) | undefined },
  ) {
    this.#library = library;
    this.#credential = credential;
    this.#timeoutMs = timeoutMs;
    this.#onDate = onDate;
    const { AuthenticationV1Api, AuthorizationV1Api, ServerConfiguration, createConfiguration } = library;
    const configuration = createConfiguration({ baseServer: new ServerConfiguration(credential.server, {}) });
    this.#authentication = new AuthenticationV1Api(configuration);
    this.#authorization = new AuthorizationV1Api(configuration);
  }

  /**
   * Without a kubeconfig it is the service account of the pod we run in. Nothing is sent yet: a daemon starts also while
   * the API server is away. `timeoutMs` is for one review with its second attempt; `onDate` is told each answer's `Date`.
   *
   * @throws {Error} one line that names the file and what is wrong with it
   */
  static async open({
    kubeconfig,
    timeoutMs = 10_000,
    onDate,
  }: {
    kubeconfig?: string | undefined;
    timeoutMs?: number;
    onDate?: (date: Date) => void;
  }): Promise<ApiReviews> {
    const library = await import('@kubernetes/client-node');
    return new ApiReviews(library, await openApiCredential(library, kubeconfig), { timeoutMs, onDate });
  }

  /** The URL of the API server. */
  get server(): string {
    return this.#credential.server;
  }

  /**
   * Whose token it is; undefined: the API server does not know it.
   *
   * No audiences are asked for, as by the kubelet: a token has to be meant for the API server itself.
   *
   * @throws {ExecletError} RuntimeUnavailable
   */
  async reviewToken(token: string): Promise<Caller | undefined> {
    const { V1TokenReview, V1TokenReviewSpec } = this.#library;
    const { apiVersion, kind } = TOKEN_REVIEW;
    const spec = Object.assign(new V1TokenReviewSpec(), { token });
    const body = Object.assign(new V1TokenReview(), { apiVersion, kind, spec });
    const { status } = await this.#review(TOKEN_REVIEW, tokenReview, options =>
      this.#authentication.createTokenReview({ body }, options),
    );
    // `status.error` is not read: a bad token has one as well as an authenticator that failed.
    if (status.authenticated !== true) return undefined;
    const { username, uid, groups, extra } = status.user;
    return {
      name: username,
      ...(isSet(uid) && { uid }),
      groups: groupsOf(username, groups ?? []),
      extra: new Map(Object.entries(extra ?? {}).map(([key, values]) => [key.toLowerCase(), values ?? []])),
      proof: 'token_review',
    };
  }

  /**
   * Whether the caller may do what the question says.
   *
   * @throws {ExecletError} RuntimeUnavailable
   */
  async reviewAccess({ name, uid, groups, extra }: Caller, question: Question): Promise<Decision> {
    const { V1SubjectAccessReview, V1SubjectAccessReviewSpec } = this.#library;
    const { apiVersion, kind } = ACCESS_REVIEW;
    const spec = Object.assign(new V1SubjectAccessReviewSpec(), {
      user: name,
      ...(uid !== undefined && { uid }),
      groups: [...groups],
      extra: Object.fromEntries([...extra].map(([key, values]) => [key, [...values]])),
      ...('path' in question ? { nonResourceAttributes: question } : { resourceAttributes: question }),
    });
    const body = Object.assign(new V1SubjectAccessReview(), { apiVersion, kind, spec });
    const { status } = await this.#review(ACCESS_REVIEW, accessReview, options =>
      this.#authorization.createSubjectAccessReview({ body }, options),
    );
    if (status.allowed && status.denied !== true) return { allowed: true };
    if (isSet(status.reason)) return { allowed: false, reason: status.reason.slice(0, MAX_REASON_CHARS) };
    // The error itself names roles that do or do not exist.
    return isSet(status.evaluationError)
      ? { allowed: false, reason: 'the API server could not evaluate all rules' }
      : { allowed: false };
  }

  /** Ends the connections; the reviews under way fail, and none may follow. */
  close(): void {
    for (const ending of this.#underWay) ending.abort(new ReviewProblem('execlet stops'));
    this.#transport.close();
  }

  async #review<Schema extends z.ZodType>(
    review: Review,
    schema: Schema,
    send: (options: ClientNode.ConfigurationOptions) => Promise<unknown>,
  ): Promise<z.infer<Schema>> {
    // Aborts with the problem that it means.
    const ending = new AbortController();
    this.#underWay.add(ending);
    const timer = setTimeout(() => ending.abort(late(this.#timeoutMs)), this.#timeoutMs);
    const options = { httpApi: this.#httpApi(review, ending.signal) };
    // What is caught may hold the token in its message, stack or properties; a ReviewProblem is all that is kept of it.
    const attempt = (): Promise<z.infer<Schema> | ReviewProblem> =>
      send(options)
        .then(answer => schema.parse(answer))
        .catch((error: unknown) => (error instanceof ReviewProblem ? error : malformed(review)));
    try {
      let outcome = await attempt();
      if (outcome instanceof ReviewProblem && outcome.retryAfterMs !== undefined) {
        await delay(outcome.retryAfterMs, undefined, { signal: ending.signal }).catch(() => undefined);
        if (!ending.signal.aborted) outcome = await attempt();
      }
      if (!(outcome instanceof ReviewProblem)) return outcome;
      throw new ExecletError('RuntimeUnavailable', `cannot check ${review.subject}: ${outcome.message}`);
    } finally {
      clearTimeout(timer);
      this.#underWay.delete(ending);
    }
  }

  /** What client-node sends its requests with: our transport, and answers that are worth parsing only. */
  #httpApi(review: Review, signal: AbortSignal): ClientNode.HttpLibrary {
    const { ResponseContext, wrapHttpLibrary } = this.#library;
    return wrapHttpLibrary({
      send: async request => {
        const { headers, tls } = await this.#credential.read().catch((error: unknown) => {
          throw new ReviewProblem(`execlet cannot read its own credential (${errorCode(error)})`);
        });
        const body: unknown = request.getBody();
        const response = await this.#transport
          .post({
            url: request.getUrl(),
            headers: { ...request.getHeaders(), 'User-Agent': USER_AGENT, ...headers },
            body: typeof body === 'string' ? body : '',
            tls,
            signal,
          })
          .catch((error: unknown) => {
            throw signal.reason instanceof ReviewProblem ? signal.reason : unreachable(error);
          });
        if (response.date !== undefined) this.#onDate?.(new Date(response.date));
        if (response.status !== 200 && response.status !== 201) throw refused(review, response.status);
        const { contentType, body: text } = response;
        return new ResponseContext(response.status, contentType === undefined ? {} : { 'content-type': contentType }, {
          text: () => Promise.resolve(text),
          binary: () => Promise.resolve(Buffer.from(text)),
          stream: () => null,
        });
      },
    });
  }
}

function isSet(value: string | null | undefined): value is string {
  return value !== null && value !== undefined && value !== '';
}

function malformed({ apiVersion, kind }: Review): ReviewProblem {
  return new ReviewProblem(
    `the answer is no ${kind} of ${apiVersion}; see whether the server it asks is an API server, and what stands in front of it`,
  );
}

function late(timeoutMs: number): ReviewProblem {
  return new ReviewProblem(
    `no answer from the API server within ${timeoutMs / 1000} s; see whether this node reaches it, and whether it is overloaded`,
  );
}

function unreachable(error: unknown): ReviewProblem {
  if (error instanceof AnswerTooLong) {
    return new ReviewProblem('the answer is longer than 1 MiB; see whether the server it asks is an API server');
  }
  if (error instanceof StaleConnection) {
    return new ReviewProblem('the API server closes its connections; try again in a moment', { retryAfterMs: 0 });
  }
  const code = errorCode(error);
  // OpenSSL's names of what is wrong with a certificate, and Node's.
  if (/CERT|TLS|SSL|UNABLE_TO/.test(code)) {
    return new ReviewProblem(
      `no trusted TLS connection to the API server (${code}); see its certificate, certificate-authority and the client certificate`,
    );
  }
  return new ReviewProblem(`cannot reach the API server (${code}); see whether it runs and this node reaches it`, {
    retryAfterMs: RETRY_PAUSE_MS,
  });
}

function refused({ resource }: Review, status: number): ReviewProblem {
  const right = `the right to create ${resource} (the ClusterRole system:auth-delegator has it)`;
  if (status === 401) {
    return new ReviewProblem(
      `the API server does not accept execlet's own credential (401); renew it, and give its account ${right}`,
    );
  }
  if (status === 403) {
    return new ReviewProblem(`execlet may not ask the API server (403); give its account ${right}`);
  }
  const mayPass = status === 429 || status >= 500;
  const advice = mayPass ? 'try again when it is well' : 'see whether the server it asks is an API server';
  return new ReviewProblem(
    `the API server answers ${status}; ${advice}`,
    mayPass ? { retryAfterMs: RETRY_PAUSE_MS } : {},
  );
}
