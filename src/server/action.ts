import type { Action } from '../access/authorization.ts';
import { notServed } from '../kubeapi/not-served.ts';
import { decodeName, isExecPath } from './exec-request.ts';

const DISCOVERY_PATHS: ReadonlySet<string> = new Set(['/version', '/api', '/apis', '/api/v1']);
/** The sessions of this node; each has its id behind it. */
export const SESSIONS_PATH = '/execlet/v1/sessions';
const SESSIONS = new RegExp(`^${SESSIONS_PATH}(?:/([^/]+))?$`);
const NAMESPACE_PATH = /^\/api\/v1\/namespaces\/([^/]+)$/;
const PODS_PATH = /^\/api\/v1\/namespaces\/([^/]+)\/pods(?:\/([^/]+))?$/;

/** `exec` stands for itself: what it asks for is in the query too. */
export type RouteAction = Exclude<Action, { kind: 'exec' }> | { readonly kind: 'exec' };

/**
 * What a request to a path does, whether or not it asks for an upgrade; decided by the path as it was sent.
 * Undefined for a path that is none of ours.
 *
 * Who may is decided by this alone, so a path that is missing here is answered with 404, whatever else would answer it.
 *
 * @throws {ExecletError} BadExecRequest for a name that is not valid percent-encoding
 */
export function actionOf(method: string, pathname: string): RouteAction | undefined {
  if (isExecPath(pathname)) return { kind: 'exec' };
  if (pathname === '/metrics') return { kind: 'metrics' };
  if (pathname === '/pods' || pathname === '/api/v1/pods') return { kind: 'pods', verb: 'list' };
  const sessions = SESSIONS.exec(pathname);
  if (sessions !== null) {
    decodeName(sessions[1] ?? ''); // an id may be anything that is valid percent-encoding
    return { kind: 'sessions', verb: method === 'DELETE' ? 'delete' : 'list' };
  }
  if (DISCOVERY_PATHS.has(pathname) || notServed(pathname) !== undefined) return { kind: 'discovery' };
  const named = NAMESPACE_PATH.exec(pathname)?.[1];
  // Every name gets the same answer, so that it tells nothing.
  if (named !== undefined) return decodeName(named) === undefined ? undefined : { kind: 'discovery' };
  const [, namespaceSegment, podSegment] = PODS_PATH.exec(pathname) ?? [];
  const namespace = decodeName(namespaceSegment ?? '');
  if (namespace === undefined) return undefined;
  if (podSegment === undefined) return { kind: 'pods', verb: 'list', namespace };
  const pod = decodeName(podSegment);
  return pod === undefined ? undefined : { kind: 'pods', verb: 'get', namespace, pod };
}
