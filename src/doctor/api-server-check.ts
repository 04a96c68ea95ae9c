import { randomBytes } from 'node:crypto';
import { ApiReviews } from '../access/api-reviews.ts';
import { questionOf } from '../access/authorization.ts';
import { ANONYMOUS } from '../access/caller.ts';
import { usesApiServer } from '../config/access-settings.ts';
import type { Settings } from '../config/schema.ts';
import { messageOf, ok, problem, type Finding } from './check.ts';
import { checkClock, type OtherClock } from './clock-check.ts';

const TIMEOUT_MS = 5_000;

/**
 * Whether the API server can be asked what the settings would have it asked, and what time it has. The reviews are real ones, of a
 * token that nobody has and of what anonymous callers may do: any answer to them will do.
 */
export async function checkApiServer(settings: Settings, timeoutMs = TIMEOUT_MS): Promise<readonly Finding[]> {
  if (!usesApiServer(settings)) return [];
  const {
    kubeconfig,
    authenticationTokenWebhook,
    authorizationMode,
    authorizationResource: resource,
    nodeName,
  } = settings;
  const clocks: OtherClock[] = [];
  let askedAt = new Date();
  const onDate = (theirs: Date): void =>
    void clocks.push({ whose: 'the API server', theirs, askedAt, answeredAt: new Date() });
  let reviews: ApiReviews;
  try {
    reviews = await ApiReviews.open({ kubeconfig, timeoutMs, onDate });
  } catch (cause) {
    return [problem(`--kubeconfig: ${messageOf(cause)}`)];
  }
  const where = `the API server ${reviews.server}, asked by ${kubeconfig ?? "the pod's service account"}`;
  const ask = (kind: string, review: () => Promise<unknown>): Promise<Finding> => {
    askedAt = new Date();
    return review().then(
      () => ok(`${where}, answers a ${kind}`),
      (cause: unknown) => problem(`${where}, answers no ${kind}: ${messageOf(cause)}`),
    );
  };
  const findings: Finding[] = [];
  try {
    if (authenticationTokenWebhook) {
      findings.push(await ask('TokenReview', () => reviews.reviewToken(randomBytes(16).toString('hex'))));
    }
    if (authorizationMode === 'Webhook') {
      const action = { kind: 'exec', namespace: 'default', pod: 'execlet-doctor', command: [] } as const;
      const question = questionOf(action, { resource, nodeName });
      findings.push(await ask('SubjectAccessReview', () => reviews.reviewAccess(ANONYMOUS, question)));
    }
  } finally {
    reviews.close();
  }
  return [...findings, ...clocks.slice(-1).map(checkClock)];
}
