import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request as requestHttp, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, test } from 'node:test';
import type { Express } from 'express';
import type { Action, Decision } from '../../../src/access/authorization.ts';
import { ANONYMOUS, type Caller } from '../../../src/access/caller.ts';
import { ExecletError } from '../../../src/errors.ts';
import { createKubeApi } from '../../../src/kubeapi/router.ts';
import { AccessControl } from '../../../src/server/access-control.ts';
import { actionOf } from '../../../src/server/action.ts';
import type { Attempt } from '../../../src/server/attempt.ts';
import { createRoutes } from '../../../src/server/routes.ts';
import { fakeContainer, registryOf } from '../../support/fake-registry.ts';

const HEALTH = ['/healthz', '/livez', '/livez/event-loop', '/readyz', '/readyz/engine', '/readyz/draining'];
/** Every path that express answers, with something for its parameters. */
const PATHS = [
  ...HEALTH,
  '/metrics',
  '/execlet/v1/sessions',
  '/execlet/v1/sessions/:id',
  '/version',
  '/api',
  '/apis',
  '/api/v1',
  '/pods',
  '/api/v1/pods',
  '/api/v1/namespaces/:namespace',
  '/api/v1/namespaces/:namespace/pods',
  '/api/v1/namespaces/:namespace/pods/:pod',
];

const alice: Caller = { ...ANONYMOUS, name: 'alice', proof: 'token_file' };
let caller: Caller | undefined = alice;
let decision: Decision = { allowed: true };
let draining: string | undefined;
const asked: Action[] = [];
const refused: Attempt[] = [];

const app: Express = createRoutes({
  access: new AccessControl({
    authentication: {
      authenticate: () =>
        caller === undefined
          ? Promise.reject(new ExecletError('Unauthenticated', 'Unauthorized'))
          : Promise.resolve(caller),
    },
    authorizer: {
      decide: (_caller, action) => {
        asked.push(action);
        return decision;
      },
    },
    resource: 'pods/exec',
    nodeName: 'node',
    allowedOrigins: new Set(),
    loopback: true,
  }),
  exec: { admit: () => Promise.reject(new ExecletError('ContainerNotRunning', 'admitted')) },
  kubeApi: createKubeApi({
    registry: registryOf(fakeContainer('default', 'web', 'app')),
    nodeName: 'node',
    checkServing: () => undefined,
  }),
  scrape: accept => Promise.resolve({ contentType: accept ?? 'text/plain', text: 'metrics' }),
  sessions: {
    list: () => [],
    find: () => undefined,
    end: (id, by) => {
      throw new ExecletError('SessionOver', `session ${id} cannot be ended by ${by}`);
    },
  },
  health: {
    liveness: [{ name: 'event-loop', problem: () => undefined }],
    readiness: [
      { name: 'engine', problem: () => undefined },
      { name: 'draining', problem: () => draining },
    ],
  },
  refusals: { record: attempt => void refused.push(attempt) },
});
const server = createServer(app).listen(0, '127.0.0.1');
await once(server, 'listening');
after(() => server.close());

async function ask(path: string, method = 'GET', headers: Record<string, string> = {}) {
  asked.length = 0;
  refused.length = 0;
  const { port } = server.address() as AddressInfo;
  const sent = requestHttp({ host: '127.0.0.1', port, path, method, headers, agent: false });
  sent.end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  return { status: response.statusCode, body: await text(response) };
}

function filled(path: string): string {
  return path.replace(':namespace', 'default').replace(':pod', 'web').replace(':id', 'some-id');
}

interface Layer {
  readonly route?: { readonly path: string | string[] };
  readonly handle: { readonly stack?: readonly Layer[] };
}

/** The paths of every route of a router and of those that are mounted in it. */
function pathsIn(stack: readonly Layer[]): string[] {
  return stack.flatMap(({ route, handle }) => (route === undefined ? pathsIn(handle.stack ?? []) : route.path));
}

test('every route has a decision, and this test knows it', () => {
  const { router } = app as unknown as { router: { stack: readonly Layer[] } };
  const paths = new Set(pathsIn(router.stack));
  assert.deepEqual([...paths].sort(), [...PATHS].sort());
  for (const path of paths) {
    if (!HEALTH.includes(path)) assert.notEqual(actionOf('GET', filled(path)), undefined, path);
  }
});

test('nothing but health is answered to whoever is not known', async t => {
  caller = undefined;
  t.after(() => (caller = alice));
  for (const path of [...PATHS, '/nothing', '/api/v1/nodes', '/attach/a/b/c', '/execlet/v1/sessions']) {
    for (const method of ['GET', 'POST', 'HEAD', 'DELETE', 'OPTIONS']) {
      if (HEALTH.includes(path)) continue;
      const { status, body } = await ask(filled(path), method);
      assert.equal(status, 401, `${method} ${path}`);
      assert.equal(refused.at(0)?.stage, 'authenticate');
      if (method !== 'HEAD') assert.ok(body.includes('Unauthorized'), body);
    }
  }
  for (const path of HEALTH) assert.equal((await ask(path)).status, 200, path);
});

test('whoever may not is told so, for every method, and learns nothing of what exists', async t => {
  decision = { allowed: false, reason: 'no rule allows it' };
  t.after(() => (decision = { allowed: true }));
  for (const path of [
    '/metrics',
    '/pods',
    '/api/v1/pods',
    '/api/v1/namespaces/default/pods/web',
    '/execlet/v1/sessions',
  ]) {
    for (const method of ['GET', 'POST', 'DELETE']) {
      const { status, body } = await ask(path, method);
      assert.equal(status, 403, `${method} ${path}`);
      assert.match(body, /alice.* cannot .*: no rule allows it/);
    }
  }
  for (const path of ['/version', '/api', '/apis', '/api/v1', '/api/v1/namespaces/default', '/api/v1/namespaces/no']) {
    assert.equal((await ask(path)).status, 200, path);
    assert.deepEqual(asked, [], 'discovery needs authentication only');
  }
});

test('a path that is none of ours is 404, in the form of its API, and asks nobody', async () => {
  const status = {
    kind: 'Status',
    code: 404,
    message: 'the server could not find the requested resource',
    details: {},
  };
  for (const path of [
    '/api/v2',
    '/apis/apps/v1',
    '/api/v1/nodes',
    '/openapi/v2',
    '/api/v1/namespaces/a/pods/b/status',
  ]) {
    const answer = await ask(path);
    assert.equal(answer.status, 404, path);
    assert.partialDeepStrictEqual(JSON.parse(answer.body), status);
    assert.deepEqual(asked, []);
  }
  for (const path of ['/', '/PODS', '/pods/', '//pods', '/%70ods', '/Metrics', '/execlet/v1']) {
    assert.deepEqual(await ask(path), { status: 404, body: '404: Page Not Found' }, path);
  }
});

test('sessions are listed, and one that nobody knows is 404, whether it is asked for or to be ended', async () => {
  assert.deepEqual(await ask('/execlet/v1/sessions'), { status: 200, body: '{"sessions":[]}' });
  assert.deepEqual(asked, [{ kind: 'sessions', verb: 'list' }]);
  assert.deepEqual(await ask('/execlet/v1/sessions/a%2Fb'), { status: 404, body: 'session a/b not found' });
  assert.equal((await ask('/execlet/v1/sessions/%')).status, 400);
  assert.deepEqual(await ask('/execlet/v1/sessions/7', 'DELETE'), {
    status: 409,
    body: 'session 7 cannot be ended by alice',
  });
  assert.deepEqual(asked, [{ kind: 'sessions', verb: 'delete' }]);
});

test('each check of a health endpoint has a path of its own, and ?verbose lists them all', async t => {
  draining = 'the daemon is stopping';
  t.after(() => (draining = undefined));
  assert.deepEqual(await ask('/readyz'), {
    status: 503,
    body: '[+]engine ok\n[-]draining failed: the daemon is stopping\nreadyz check failed\n',
  });
  assert.deepEqual(await ask('/readyz/engine'), { status: 200, body: 'ok' });
  assert.equal((await ask('/readyz/draining')).status, 503);
  assert.deepEqual(await ask('/livez?verbose'), { status: 200, body: '[+]event-loop ok\nlivez check passed\n' });
  assert.equal(
    (await ask('/livez/engine')).status,
    404,
    'an Engine that is away is no reason to start the daemon again',
  );
});

test('an exec path without an upgrade goes through the checks of an exec', async () => {
  for (const path of ['/exec/default/web/app?command=ls', '/api/v1/namespaces/default/pods/web/exec', '/exec/']) {
    assert.equal((await ask(path, 'POST')).status, 409, path);
  }
});

test('impersonation is refused, whoever asks', async () => {
  for (const header of ['Impersonate-User', 'impersonate-group', 'Impersonate-Extra-scopes']) {
    const { status, body } = await ask('/version', 'GET', { [header]: 'root' });
    assert.deepEqual([status, body], [403, 'impersonation is not supported: send no Impersonate-* headers']);
  }
});

test('a web page is refused; so is another Host, for whoever is anonymous', async t => {
  assert.equal((await ask('/version', 'GET', { Origin: 'http://127.0.0.1' })).status, 403);
  assert.equal((await ask('/version', 'GET', { Host: 'evil.example' })).status, 200, 'known callers may use any name');
  caller = ANONYMOUS;
  t.after(() => (caller = alice));
  assert.equal((await ask('/version', 'GET', { Host: 'evil.example' })).status, 403);
  assert.equal((await ask('/version')).status, 200);
});
