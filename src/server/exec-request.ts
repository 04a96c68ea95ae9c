import { ExecletError } from '../errors.ts';
import type { WantedStreams } from '../remotecommand/accept.ts';

/** Of the API server's form, with the empty one before its first slash; what has one more is no exec. */
const MAX_PATH_SEGMENTS = 8;
const API_EXEC_PATH = /^\/api\/v1\/namespaces\/[^/]+\/pods\/[^/]+\/exec$/;

/** How an API server tells a container runtime which audit record an exec belongs to: `env=KUBERNETES_EXEC_AUDIT_ID=…`. */
export const AUDIT_ID_VARIABLE = 'KUBERNETES_EXEC_AUDIT_ID';
const MAX_AUDIT_ID_LENGTH = 256;

/** Whose form a path has. It decides how failures are answered: the kubelet's in plain text, the API server's with a Status. */
export type PathForm = 'kubelet' | 'api';

/** An exec as it was asked for. */
export interface ExecRequest {
  readonly form: PathForm;
  readonly namespace: string;
  readonly pod: string;
  readonly podUid?: string;
  /** Absent where the client leaves the choice to a pod with one container; API form only. */
  readonly container?: string;
  readonly command: readonly [string, ...string[]];
  readonly wanted: WantedStreams;
  /** From the query; believed, and passed on to the command, only when a front proxy has sent it. */
  readonly auditId?: string;
}

/** Which container a path names, before the query is looked at. */
export type ExecTarget = Pick<ExecRequest, 'form' | 'namespace' | 'pod' | 'podUid' | 'container'>;

/**
 * The target of an exec path, in either form; undefined for any other path.
 *
 * Kubelet: `/exec/{namespace}/{pod}/{container}` and `/exec/{namespace}/{pod}/{uid}/{container}`. API server:
 * `/api/v1/namespaces/{namespace}/pods/{pod}/exec`. The path is taken as it was sent: nothing is normalised, since whoever
 * filters paths in front of us must see the one that we act on.
 *
 * @throws {ExecletError} BadExecRequest for a path segment that is not valid percent-encoding
 */
export function parseExecPath(pathname: string): ExecTarget | undefined {
  const [root, first, ...rest] = pathname.split('/', MAX_PATH_SEGMENTS + 1);
  if (root !== '') return undefined;
  if (first === 'exec') return kubeletTarget(rest.map(decodeName));
  const [v1, namespaces, namespace, pods, pod, exec, ...more] = rest;
  if (`${first}/${v1}/${namespaces}/${pods}/${exec}` !== 'api/v1/namespaces/pods/exec' || more.length > 0)
    return undefined;
  const [inNamespace, inPod] = [namespace, pod].map(name => decodeName(name ?? ''));
  return inNamespace === undefined || inPod === undefined
    ? undefined
    : { form: 'api', namespace: inNamespace, pod: inPod };
}

/** Whether a path is one that only an exec may have, well-formed or not. */
export function isExecPath(pathname: string): boolean {
  return pathname.startsWith('/exec/') || API_EXEC_PATH.test(pathname);
}

function kubeletTarget(names: readonly (string | undefined)[]): ExecTarget | undefined {
  const [namespace, pod, third, fourth] = names;
  if (namespace === undefined || pod === undefined || third === undefined || names.length > 4) return undefined;
  if (names.length === 3) return { form: 'kubelet', namespace, pod, container: third };
  return fourth === undefined ? undefined : { form: 'kubelet', namespace, pod, podUid: third, container: fourth };
}

/**
 * Reads the query of an exec request.
 *
 * @throws {ExecletError} MethodNotAllowed; BadExecRequest when no stream or no command is asked for
 */
export function parseExecRequest(target: ExecTarget, method: string, query: URLSearchParams): ExecRequest {
  if (method !== 'GET' && method !== 'POST') throw new ExecletError('MethodNotAllowed', '405: Method Not Allowed');
  const isTrue = target.form === 'kubelet' ? isTrueForKubelet : isTrueForApi;
  const [stdinName, stdoutName, stderrName] =
    target.form === 'kubelet' ? ['input', 'output', 'error'] : ['stdin', 'stdout', 'stderr'];
  const tty = isTrue(query.get('tty'));
  const stdin = isTrue(query.get(stdinName));
  const stdout = isTrue(query.get(stdoutName));
  const stderr = isTrue(query.get(stderrName));
  if (!stdin && !stdout && !stderr) {
    throw new ExecletError('BadExecRequest', 'you must specify at least 1 of stdin, stdout, stderr');
  }
  const [first, ...rest] = query.getAll('command');
  if (first === undefined || first === '') {
    throw new ExecletError('BadExecRequest', 'you must specify at least one command for the container');
  }
  const auditId = auditIdOf(query.getAll('env'));
  const container = target.container ?? query.get('container') ?? '';
  return {
    ...target,
    ...(container !== '' && { container }),
    command: [first, ...rest],
    wanted: { stdin, stdout, stderr: stderr && !tty, tty }, // a terminal has no stderr of its own: not an error
    ...(auditId !== undefined && { auditId }),
  };
}

/** Clients choose no environment for a command; the one variable is for the record of who ran it. */
function auditIdOf(env: readonly string[]): string | undefined {
  const [variable, second] = env;
  if (variable === undefined) return undefined;
  const value = variable.startsWith(`${AUDIT_ID_VARIABLE}=`) ? variable.slice(AUDIT_ID_VARIABLE.length + 1) : '';
  if (second !== undefined || !/^[\x21-\x7e]+$/.test(value)) {
    throw new ExecletError('BadExecRequest', `env may hold ${AUDIT_ID_VARIABLE}=ID and nothing else`);
  }
  if (value.length > MAX_AUDIT_ID_LENGTH) {
    throw new ExecletError('BadExecRequest', `${AUDIT_ID_VARIABLE} is longer than ${MAX_AUDIT_ID_LENGTH} characters`);
  }
  return value;
}

/** The kubelet: only the exact string 1. */
function isTrueForKubelet(value: string | null): boolean {
  return value === '1';
}

/** The API server: absent, `0` and any-case `false` are false, everything else is true. */
function isTrueForApi(value: string | null): boolean {
  return value !== null && value !== '0' && value.toLowerCase() !== 'false';
}

/**
 * A name in a path; undefined for what no namespace, pod or container can be called.
 *
 * @throws {ExecletError} BadExecRequest for what is not valid percent-encoding
 */
export function decodeName(segment: string): string | undefined {
  try {
    const name = decodeURIComponent(segment);
    return /^\.{0,2}$|[/\0]/.test(name) ? undefined : name;
  } catch (cause) {
    throw new ExecletError('BadExecRequest', 'the path is not valid percent-encoding', { cause });
  }
}
