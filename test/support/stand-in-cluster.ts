import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { z } from 'zod';

// As much of an API server as kubectl needs to apply, create, label and wait: it keeps what it is sent, and takes every DaemonSet for
// rolled out. As a program it listens where a kubectl without a kubeconfig looks, and says so in a line.

interface Resource {
  readonly name: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

const cluster = (name: string, kind: string): Resource => ({ name, kind, namespaced: false });
const namespaced = (name: string, kind: string): Resource => ({ name, kind, namespaced: true });

/** By group and version; the core's is `v1`. */
const RESOURCES: Readonly<Record<string, readonly Resource[]>> = {
  v1: [
    cluster('namespaces', 'Namespace'),
    cluster('nodes', 'Node'),
    namespaced('configmaps', 'ConfigMap'),
    namespaced('secrets', 'Secret'),
    namespaced('serviceaccounts', 'ServiceAccount'),
    namespaced('services', 'Service'),
  ],
  'apps/v1': [namespaced('daemonsets', 'DaemonSet')],
  'rbac.authorization.k8s.io/v1': [
    cluster('clusterroles', 'ClusterRole'),
    cluster('clusterrolebindings', 'ClusterRoleBinding'),
  ],
};
const VERBS = ['create', 'get', 'list', 'patch', 'watch'];
const PORT = 8080;

const object = z.looseObject({ kind: z.string(), metadata: z.looseObject({ name: z.string() }) });
type StoredObject = z.infer<typeof object>;

/** By the path of the object. */
const objects = new Map<string, StoredObject>();
store('/api/v1/nodes/node-1', { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-1' } });

createServer((request, response) => void serve(request, response)).listen(PORT, '127.0.0.1', () => {
  console.log(`a cluster at http://127.0.0.1:${PORT}`);
});

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
  const described = describe(pathname);
  if (described !== undefined) {
    answer(response, 200, described);
    return;
  }
  if (request.method === 'POST' || request.method === 'PATCH') {
    const given = z.looseObject({}).parse(decode(await buffer(request)));
    const path = request.method === 'POST' ? `${pathname}/${object.parse(given).metadata.name}` : pathname;
    const before = objects.get(path);
    if (request.method === 'POST' && before !== undefined) refuse(response, 409, 'AlreadyExists', path);
    else if (request.method === 'PATCH' && before === undefined) refuse(response, 404, 'NotFound', path);
    else answer(response, request.method === 'POST' ? 201 : 200, store(path, merge(before ?? {}, given)));
    return;
  }
  const items = [...objects].filter(([path]) => path.startsWith(`${pathname}/`)).map(([, stored]) => stored);
  const found = objects.get(pathname);
  if (found !== undefined) answer(response, 200, found);
  else if (items.length === 0) refuse(response, 404, 'NotFound', pathname);
  else if (searchParams.get('sendInitialEvents') === 'true')
    refuse(response, 400, 'BadRequest', 'a plain list, please');
  else if (searchParams.get('watch') === 'true') response.writeHead(200, JSON_TYPE).flushHeaders();
  else
    answer(response, 200, {
      kind: `${items[0]?.kind ?? ''}List`,
      apiVersion: apiVersionOf(pathname),
      metadata: {},
      items,
    });
}

/** A body in JSON, or the kind and name of one in Kubernetes' protobuf, which is what `kubectl create` sends. */
function decode(body: Buffer): unknown {
  if (body.toString('latin1', 0, 4) !== 'k8s\0') return JSON.parse(body.toString());
  const message = body.subarray(4); // runtime.Unknown: the type, then the object, whose first field is its metadata
  const [apiVersion, kind] = [1, 2].map(number => field(field(message, 1), number).toString());
  return { apiVersion, kind, metadata: { name: field(field(field(message, 2), 1), 1).toString() } };
}

/** A field of a protobuf message that has a length; those of our messages come in order, and the first have one. */
function field(message: Buffer, wanted: number): Buffer {
  for (let at = 0; at < message.length;) {
    const number = message.readUInt8(at) >> 3;
    let length = 0;
    for (let shift = 0, byte = 0x80; byte >= 0x80; shift += 7) {
      byte = message.readUInt8(++at);
      length |= (byte & 0x7f) << shift;
    }
    const value = message.subarray(++at, at + length);
    if (number === wanted) return value;
    at += length;
  }
  throw new Error(`no field ${wanted}`);
}

/** Discovery, and as much of OpenAPI as tells kubectl that it need not validate by itself. */
function describe(pathname: string): unknown {
  const groupVersions = Object.keys(RESOURCES);
  if (pathname === '/api') return { kind: 'APIVersions', versions: ['v1'] };
  if (pathname === '/apis') {
    const groups = groupVersions.filter(each => each.includes('/')).map(groupOf);
    return { kind: 'APIGroupList', apiVersion: 'v1', groups };
  }
  if (pathname === '/openapi/v3') {
    const of = (each: string): [string, unknown] => [
      prefixOf(each).slice(1),
      { serverRelativeURL: `/openapi/v3${prefixOf(each)}` },
    ];
    return { paths: Object.fromEntries(groupVersions.map(of)) };
  }
  const groupVersion = groupVersions.find(each => [prefixOf(each), `/openapi/v3${prefixOf(each)}`].includes(pathname));
  const resources = RESOURCES[groupVersion ?? ''];
  if (groupVersion === undefined || resources === undefined) return undefined;
  if (!pathname.startsWith('/openapi')) {
    const listed = resources.map(each => ({ ...each, singularName: each.kind.toLowerCase(), verbs: VERBS }));
    return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources: listed };
  }
  const [version = '', group = ''] = groupVersion.split('/').reverse();
  const parameters = [{ name: 'fieldValidation', in: 'query' }];
  const patch = (kind: string) => ({
    'x-kubernetes-group-version-kind': { group, version, kind },
    parameters,
    responses: {},
  });
  const paths = Object.fromEntries(resources.map(({ name, kind }) => [`/${name}`, { patch: patch(kind) }]));
  return { openapi: '3.0.0', info: { title: 'a stand-in', version: '1' }, paths };
}

function groupOf(groupVersion: string): unknown {
  const [name, version] = groupVersion.split('/');
  const only = { groupVersion, version };
  return { name, versions: [only], preferredVersion: only };
}

function prefixOf(groupVersion: string): string {
  return groupVersion.includes('/') ? `/apis/${groupVersion}` : `/api/${groupVersion}`;
}

function apiVersionOf(pathname: string): string {
  return Object.keys(RESOURCES).find(each => pathname.startsWith(prefixOf(each))) ?? 'v1';
}

function store(path: string, given: unknown): StoredObject {
  const parsed = object.parse(given);
  const one = { observedGeneration: 1, desiredNumberScheduled: 1, updatedNumberScheduled: 1, numberAvailable: 1 };
  const stored = {
    ...parsed,
    metadata: { ...parsed.metadata, uid: path, resourceVersion: '1', generation: 1 },
    ...(parsed.kind === 'DaemonSet' && { status: one }),
  };
  objects.set(path, stored);
  return stored;
}

/** JSON merge patch (RFC 7396), which is near enough to kubectl's strategic one where no list is patched. */
function merge(
  target: Readonly<Record<string, unknown>>,
  patch: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const merged: Record<string, unknown> = { ...target };
  for (const [name, value] of Object.entries(patch)) {
    const inner = z.record(z.string(), z.unknown()).safeParse(value).data;
    const before = z.record(z.string(), z.unknown()).safeParse(merged[name]).data ?? {};
    merged[name] = inner === undefined ? value : merge(before, inner);
  }
  return merged;
}

const JSON_TYPE = { 'Content-Type': 'application/json' };

function answer(response: ServerResponse, code: number, body: unknown): void {
  response.writeHead(code, JSON_TYPE).end(JSON.stringify(body));
}

function refuse(response: ServerResponse, code: number, reason: string, what: string): void {
  answer(response, code, {
    kind: 'Status',
    apiVersion: 'v1',
    status: 'Failure',
    code,
    reason,
    message: `${reason}: ${what}`,
  });
}
