/** How a caller was shown to be who they are. */
export type Proof = 'client_certificate' | 'front_proxy' | 'token_file' | 'token_review' | 'anonymous';

/** Who asks, in Kubernetes' terms. */
export interface Caller {
  readonly name: string;
  /** Where the authenticator knows one: the token file's third column, TokenReview's `uid`. */
  readonly uid?: string;
  readonly groups: readonly string[];
  /** What else the authenticator says of them, for a SubjectAccessReview; keys in lower case. */
  readonly extra: ReadonlyMap<string, readonly string[]>;
  readonly proof: Proof;
  /** The common name of the front proxy that vouches for them; with the proof `front_proxy` only. */
  readonly proxy?: string;
}

/** The group of everybody who has been authenticated, and of nobody else. */
export const AUTHENTICATED_GROUP = 'system:authenticated';
const UNAUTHENTICATED_GROUP = 'system:unauthenticated';
const ANONYMOUS_NAME = 'system:anonymous';

/** Whoever showed no credential, where that is allowed. */
export const ANONYMOUS: Caller = {
  name: ANONYMOUS_NAME,
  groups: [UNAUTHENTICATED_GROUP],
  extra: new Map(),
  proof: 'anonymous',
};

/**
 * The groups of a caller whom an authenticator knows by that name, each once, and that of everybody who has been authenticated.
 * Whoever vouches for a caller may say that they are anonymous, as an API server does of its own; then they stay so.
 */
export function groupsOf(name: string, groups: readonly string[]): string[] {
  const anonymous = name === ANONYMOUS_NAME || groups.includes(UNAUTHENTICATED_GROUP);
  return [...new Set([...groups, anonymous ? UNAUTHENTICATED_GROUP : AUTHENTICATED_GROUP])];
}
