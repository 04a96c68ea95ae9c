import type { Caller } from './caller.ts';

/** What a caller wants to do. The operation decides, never the HTTP method: a WebSocket exec is a GET. */
export type Action =
  /** `/version`, `/api`, a namespace and the like, and paths that name nothing: whoever has been authenticated may ask. */
  | { readonly kind: 'discovery' }
  | {
      readonly kind: 'exec';
      readonly namespace: string;
      readonly pod: string;
      /** Absent where the client named none and the pod has not exactly one. */
      readonly container?: string;
      readonly command: readonly string[];
    }
  /** Without a namespace: in all of them. `get` has both. */
  | { readonly kind: 'pods'; readonly verb: 'get' | 'list'; readonly namespace?: string; readonly pod?: string }
  | { readonly kind: 'sessions'; readonly verb: 'list' | 'delete' }
  | { readonly kind: 'metrics' };

/** What has to be allowed: all but discovery. */
export type AuthorizedAction = Exclude<Action, { kind: 'discovery' }>;

/** `reason` is for the person who asked; it says nothing of what exists. */
export type Decision = { readonly allowed: true } | { readonly allowed: false; readonly reason?: string };

/** One way to decide who may do what. */
export interface Authorizer {
  /** @throws {ExecletError} RuntimeUnavailable when nobody can tell; nothing is allowed then */
  decide(caller: Caller, action: AuthorizedAction): Decision | Promise<Decision>;
}

/** Allows everything: the mode that has to be said. */
export const ALWAYS_ALLOW: Authorizer = { decide: () => ({ allowed: true }) };

/** The resource whose rights decide about an exec: its pod's, or, as with the kubelet, the node's. */
export type AuthorizationResource = 'pods/exec' | 'nodes/proxy';

/** An action as Kubernetes asks about it: `resourceAttributes` or `nonResourceAttributes` of a SubjectAccessReview. */
export type Question =
  | {
      readonly verb: string;
      readonly group: string;
      readonly resource: string;
      readonly subresource?: string;
      readonly namespace?: string;
      readonly name?: string;
    }
  | { readonly verb: string; readonly path: string };

/**
 * The question that an action asks. With `nodes/proxy` it is the kubelet's question for `nodeName`, always with the verb
 * `create`: the kubelet derives the verb from the HTTP method, and so lets whoever may only read run commands over WebSocket.
 */
export function questionOf(
  action: AuthorizedAction,
  { resource, nodeName }: { resource: AuthorizationResource; nodeName: string },
): Question {
  if (action.kind === 'metrics') return { verb: 'get', path: '/metrics' };
  if (action.kind === 'sessions') return { verb: action.verb, group: 'execlet.dev', resource: 'sessions' };
  if (resource === 'nodes/proxy') {
    return { verb: 'create', group: '', resource: 'nodes', subresource: 'proxy', name: nodeName };
  }
  const { namespace, pod } = action;
  const verb = action.kind === 'exec' ? 'create' : action.verb;
  return {
    verb,
    group: '',
    resource: 'pods',
    ...(action.kind === 'exec' && { subresource: 'exec' }),
    ...(namespace !== undefined && { namespace }),
    ...(pod !== undefined && { name: pod }),
  };
}

/** Why somebody may not, in the API server's words. */
export function forbiddenMessage({ name }: Caller, question: Question, reason = ''): string {
  const because = reason === '' ? '' : `: ${reason}`;
  if ('path' in question) {
    return `forbidden: User "${name}" cannot ${question.verb} path "${question.path}"${because}`;
  }
  const { verb, group, resource, subresource, namespace, name: object } = question;
  const plural = group === '' ? resource : `${resource}.${group}`;
  const what = subresource === undefined ? resource : `${resource}/${subresource}`;
  const where = namespace === undefined ? 'at the cluster scope' : `in the namespace "${namespace}"`;
  return (
    `${plural}${object === undefined ? '' : ` "${object}"`} is forbidden: User "${name}" cannot ${verb} resource ` +
    `"${what}" in API group "${group}" ${where}${because}`
  );
}
