import { Router, type ErrorRequestHandler, type Request, type Response } from 'express';
import { ExecletError } from '../errors.ts';
import type { HandlerRegistry } from '../exec/handler-registry.ts';
import { representationFor } from './accept.ts';
import { API_GROUP_LIST, API_RESOURCE_LIST, API_VERSIONS, namespaceNamed, versionInfo } from './discovery.ts';
import { notServed } from './not-served.ts';
import { podTableOf, type IncludeObject } from './pod-table.ts';
import { podListOf, podsOf, type Pod } from './pods.ts';
import { parseFieldSelector, parseLabelSelector } from './selectors.ts';
import { statusBody, type StatusDetails } from './status-body.ts';

const PODS = '/api/v1/pods';
const NAMESPACE = '/api/v1/namespaces/:namespace';
const NAMESPACED_PODS = `${NAMESPACE}/pods`;

export interface KubeApiOptions {
  readonly registry: HandlerRegistry;
  readonly nodeName: string;
  /** Throws an ExecletError while the registry is not to be trusted: an empty list would be a lie. */
  readonly checkServing: () => void;
}

/**
 * As much of the Kubernetes API as kubectl needs for get, exec and cp, and the kubelet's `/pods`; to be mounted at the root.
 *
 * Who may ask must have been decided before.
 */
export function createKubeApi({ registry, nodeName, checkServing }: KubeApiOptions): Router {
  const router = Router({ caseSensitive: true, strict: true });
  const pods = (): Pod[] => {
    checkServing();
    return podsOf(registry.list(), nodeName);
  };

  router.use((request, response, next) => {
    const why = notServed(request.path);
    if (why === undefined) {
      next();
      return;
    }
    if (request.path.startsWith('/api/')) {
      sendStatus(response, 501, 'NotImplemented', why);
      return;
    }
    response.status(501).set('Content-Type', 'text/plain; charset=utf-8').end(why);
  });

  router.get('/version', (_request, response) => sendJson(response, versionInfo()));
  router.get('/api', (_request, response) => sendJson(response, API_VERSIONS));
  router.get('/apis', (_request, response) => sendJson(response, API_GROUP_LIST));
  router.get('/api/v1', (_request, response) => sendJson(response, API_RESOURCE_LIST));
  router.get(NAMESPACE, (request, response) => sendJson(response, namespaceNamed(request.params.namespace)));
  router.get('/pods', (_request, response) => sendJson(response, podListOf(pods())));

  router.get(PODS, (request, response) => sendPods(request, response, pods()));
  router.get(NAMESPACED_PODS, (request, response) => {
    const { namespace } = request.params;
    sendPods(
      request,
      response,
      pods().filter(({ metadata }) => metadata.namespace === namespace),
    );
  });
  router.get(`${NAMESPACED_PODS}/:pod`, (request, response) => {
    const { namespace, pod: name } = request.params;
    const pod = pods().find(({ metadata }) => metadata.namespace === namespace && metadata.name === name);
    if (pod !== undefined) {
      sendPod(request, response, pod);
      return;
    }
    const fate = registry.fateOfPod(namespace, name);
    const message = `pods "${name}" not found${fate === undefined ? '' : `: ${fate}`}`;
    sendStatus(response, 404, 'NotFound', message, { name, kind: 'pods' });
  });

  // What `kubectl run` and `kubectl create` ask for.
  router.post(NAMESPACED_PODS, (_request, response) => {
    sendStatus(response, 501, 'NotImplemented', 'execlet serves exec only, not run: it cannot create pods');
  });
  const known = [
    '/version',
    '/api',
    '/apis',
    '/api/v1',
    '/pods',
    PODS,
    NAMESPACE,
    NAMESPACED_PODS,
    `${NAMESPACED_PODS}/:pod`,
  ];
  router.all(known, (_request, response) => {
    response.set('Allow', 'GET');
    const message = 'the server does not allow this method on the requested resource';
    sendStatus(response, 405, 'MethodNotAllowed', message);
  });
  router.use(answerError);
  return router;
}

function sendPods(request: Request, response: Response, pods: readonly Pod[]): void {
  const query = queryOf(request);
  if (isTrue(query.get('watch'))) {
    // 405, since kubectl up to 1.31 shows no body of a refused watch, and its own words for a 501 name no reason at all.
    const message = 'execlet does not serve watches: list the pods again instead';
    sendStatus(response, 405, 'MethodNotAllowed', message);
    return;
  }
  const matchesFields = parseFieldSelector(query.get('fieldSelector') ?? '');
  const matchesLabels = parseLabelSelector(query.get('labelSelector') ?? '');
  const selected = pods.filter(pod => matchesFields(pod) && matchesLabels(pod));
  sendAs(request, response, selected, () => podListOf(selected));
}

function sendPod(request: Request, response: Response, pod: Pod): void {
  sendAs(request, response, [pod], () => pod);
}

function sendAs(request: Request, response: Response, pods: readonly Pod[], asObject: () => unknown): void {
  response.vary('Accept');
  const representation = representationFor(request.headers.accept);
  if (representation === undefined) {
    const message = 'only the following media types are accepted: application/json, and it as=Table;g=meta.k8s.io';
    sendStatus(response, 406, 'NotAcceptable', message);
    return;
  }
  if (representation === 'object') {
    sendJson(response, asObject());
    return;
  }
  const includeObject = includeObjectOf(queryOf(request).get('includeObject'));
  sendJson(response, podTableOf(pods, { version: representation.table, includeObject, now: Date.now() }));
}

function includeObjectOf(value: string | null): IncludeObject {
  if (value === null || value === '') return 'Metadata';
  if (value === 'None' || value === 'Metadata' || value === 'Object') return value;
  throw new ExecletError('BadExecRequest', `unrecognized includeObject value: "${value}"`);
}

/** As the API server reads a flag: present is true, except for `0` and `false`. */
function isTrue(value: string | null): boolean {
  return value !== null && value !== '0' && value.toLowerCase() !== 'false';
}

function queryOf(request: Request): URLSearchParams {
  const mark = request.originalUrl.indexOf('?');
  return new URLSearchParams(mark < 0 ? '' : request.originalUrl.slice(mark));
}

function sendJson(response: Response, body: unknown): void {
  response.set('Content-Type', 'application/json').end(JSON.stringify(body));
}

function sendStatus(response: Response, code: number, reason: string, message: string, details?: StatusDetails): void {
  response.status(code);
  sendJson(response, statusBody(code, reason, message, details));
}

// Express throws a URIError for a path that does not decode, with `status` 400.
const answerError: ErrorRequestHandler = (error: unknown, _request, response, next) => {
  if (response.headersSent) {
    next(error);
    return;
  }
  if (error instanceof ExecletError) {
    sendStatus(response, error.httpStatus, error.statusReason, error.message);
    return;
  }
  if (error instanceof URIError) {
    sendStatus(response, 400, 'BadRequest', error.message);
    return;
  }
  next(error);
};
