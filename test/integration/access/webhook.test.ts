import assert from 'node:assert/strict';
import { after, beforeEach, test } from 'node:test';
import { Credentials, type Shape, type Shown } from '../../support/access.ts';
import { Daemon } from '../../support/daemon.ts';
import { ReviewServer, type AccessSpec } from '../../support/review-server.ts';
import { serveWeb } from '../../support/served.ts';
import { execOverWebSocket } from '../../support/websocket-client.ts';

const credentials = await Credentials.make('webhook');
const cluster = await ReviewServer.start();
const args = [
  ...(await credentials.tls()),
  ...['--authentication-token-webhook', '--authorization-mode', 'Webhook', '--kubeconfig', await cluster.kubeconfig()],
  // Every question is asked anew.
  ...['--authentication-token-webhook-cache-ttl', '1ms', '--authorization-webhook-cache-authorized-ttl', '1ms'],
  ...['--authorization-webhook-cache-unauthorized-ttl', '1ms'],
];
const served = serveWeb({ args });
let onNode: Daemon | undefined;
after(async () => {
  await onNode?.stop();
  await cluster.close();
});

const asked: AccessSpec[] = [];
const API_EXEC = '/api/v1/namespaces/default/pods/web/exec?command=echo&command=hi&stdout=true';

beforeEach(() => {
  cluster.users.clear();
  cluster.users.set('alice-token', { username: 'alice', uid: '42', groups: ['dev'], extra: { Scopes: ['a'] } });
  cluster.faults.length = 0;
  asked.length = 0;
  allow(() => true);
});

function allow(allowed: (spec: AccessSpec) => boolean): void {
  cluster.decide = spec => {
    asked.push(spec);
    return allowed(spec) ? { allowed: true } : { allowed: false, reason: 'RBAC says no' };
  };
}

function withToken(token: string): Shown {
  return { headers: { Authorization: `Bearer ${token}` } };
}

async function ask(path: string, shape: Shape, shown = withToken('alice-token'), { port } = served.daemon) {
  const { status, body } = await credentials.ask(port, path, shape, shown);
  return { status, body };
}

test('the API server says whose token it is, and is asked whether they may create pods/exec', async () => {
  const { stdout } = await execOverWebSocket({
    url: `wss://127.0.0.1:${served.daemon.port}${API_EXEC}`,
    ca: credentials.servers.certificate,
    headers: { Authorization: 'Bearer alice-token' },
    protocols: ['v5.channel.k8s.io'],
  });
  assert.equal(stdout.toString(), 'hi\n');
  assert.deepEqual(asked, [
    {
      user: 'alice',
      uid: '42',
      groups: ['dev', 'system:authenticated'],
      extra: { scopes: ['a'] },
      resourceAttributes: {
        verb: 'create',
        group: '',
        resource: 'pods',
        subresource: 'exec',
        namespace: 'default',
        name: 'web',
      },
    },
  ]);
});

test('permission to get is not permission to exec by a WebSocket, which is a GET', async () => {
  allow(({ resourceAttributes }) => resourceAttributes?.verb === 'get' || resourceAttributes?.verb === 'list');
  assert.equal((await ask('/api/v1/namespaces/default/pods/web', 'GET')).status, 200);
  for (const shape of ['WebSocket upgrade', 'SPDY upgrade', 'GET', 'POST'] as const) {
    const { status, body } = await ask(API_EXEC, shape);
    assert.equal(status, 403, shape);
    assert.match(body, /User \\"alice\\" cannot create resource \\"pods\/exec\\" .*: RBAC says no/);
  }
});

test('each operation asks its own question, whatever the method', async () => {
  allow(() => false);
  const questionOf = async (path: string): Promise<unknown> => {
    asked.length = 0;
    assert.equal((await ask(path, 'GET')).status, 403, path);
    const [{ resourceAttributes, nonResourceAttributes } = {}] = asked as Partial<AccessSpec>[];
    return resourceAttributes ?? nonResourceAttributes;
  };
  const pods = { group: '', resource: 'pods' };
  assert.deepEqual(await questionOf('/pods'), { verb: 'list', ...pods });
  assert.deepEqual(await questionOf('/api/v1/pods'), { verb: 'list', ...pods });
  assert.deepEqual(await questionOf('/api/v1/namespaces/a/pods'), { verb: 'list', ...pods, namespace: 'a' });
  assert.deepEqual(await questionOf('/api/v1/namespaces/a/pods/b'), {
    verb: 'get',
    ...pods,
    namespace: 'a',
    name: 'b',
  });
  assert.deepEqual(await questionOf('/metrics'), { verb: 'get', path: '/metrics' });
  assert.deepEqual(await questionOf('/execlet/v1/sessions'), {
    verb: 'list',
    group: 'execlet.dev',
    resource: 'sessions',
  });
  asked.length = 0;
  assert.equal((await ask('/version', 'GET')).status, 200);
  assert.deepEqual(asked, [], 'discovery asks nobody');
});

test('a token that the API server does not know is 401, and nothing else is asked', async () => {
  for (const shape of ['GET', 'SPDY upgrade', 'WebSocket upgrade'] as const) {
    assert.equal((await ask(API_EXEC, shape, withToken('unknown'))).status, 401);
  }
  assert.equal((await ask(API_EXEC, 'WebSocket upgrade', { subprotocolToken: 'alice-token' })).status, 101);
  assert.equal(asked.length, 1);
});

test('while the API server cannot answer nothing is allowed, and that is 503 and counted', async () => {
  const errors = async (): Promise<Record<string, number>> => {
    const { body } = await ask('/metrics', 'GET');
    return Object.fromEntries(
      ['token', 'access'].map(kind => {
        const found = new RegExp(`execlet_access_reviews_total\\{kind="${kind}",result="error"\\} (\\d+)`).exec(body);
        return [kind, Number(found?.[1])];
      }),
    );
  };
  const before = await errors();
  cluster.faults.push({ status: 500 }, { status: 500 }); // it is asked twice
  const token = await ask(API_EXEC, 'WebSocket upgrade');
  assert.equal(token.status, 503);
  assert.match(token.body, /cannot check the token: the API server answers 500/);
  allow(() => true);
  cluster.users.set('other-token', { username: 'other' });
  const good = ask(API_EXEC, 'SPDY upgrade', withToken('other-token'));
  const count = cluster.received.length;
  await cluster.arrived(count + 1); // the token's review is on its way; the next one fails
  cluster.faults.push({ status: 500 }, { status: 500 });
  const access = await good;
  assert.equal(access.status, 503);
  assert.match(access.body, /cannot check what the caller may do/);
  const now = await errors();
  assert.deepEqual(now, { token: (before.token ?? 0) + 1, access: (before.access ?? 0) + 1 });
});

test('asked as a kubelet asks, the question is about the node, and always create', async () => {
  onNode = await Daemon.start({
    engine: served.engine,
    args: [...args, '--authorization-resource', 'nodes/proxy', '--node-name', 'node-7'],
  });
  allow(({ resourceAttributes }) => resourceAttributes?.verb === 'get');
  const { status, body } = await ask(API_EXEC, 'WebSocket upgrade', withToken('alice-token'), onNode);
  assert.equal(status, 403);
  assert.match(body, /cannot create resource \\"nodes\/proxy\\"/);
  const [{ resourceAttributes } = {}] = asked as Partial<AccessSpec>[];
  assert.partialDeepStrictEqual(resourceAttributes, {
    verb: 'create',
    resource: 'nodes',
    subresource: 'proxy',
    name: 'node-7',
  });
});
