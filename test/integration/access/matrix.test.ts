import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Credentials, SHAPES, type Answer, type Shape, type Shown } from '../../support/access.ts';
import { Authority } from '../../support/authority.ts';
import { Daemon } from '../../support/daemon.ts';
import { serveWeb } from '../../support/served.ts';

const HOUR_MS = 60 * 60 * 1000;
const credentials = await Credentials.make('access-matrix');
const { users, proxies } = credentials;
const strangers = await Authority.create('strangers');

const args = [
  ...(await credentials.tls()),
  ...(await credentials.clientCertificates()),
  ...(await credentials.tokens(['admin-token,admin,1,"admins"', 'reader-token,reader,2'])),
  ...(await credentials.rules(`
rules:
  - groups: [admins]
    verbs: ["*"]
  - users: [reader]
    verbs: [get, list]
    namespaces: [default]
`)),
];
const served = serveWeb({ args });
/** The same daemon, but whoever shows no credential is anonymous there, and may as little as anybody without a rule. */
let anonymous: Daemon | undefined;
before(async () => {
  anonymous = await Daemon.start({
    engine: { dockerHost: 'unix:///nowhere/docker.sock' },
    args: [...args, '--anonymous-auth'],
  });
});
after(async () => anonymous?.stop());

/** Whom the daemon takes a caller for. `none` is 401. */
type Identity = 'none' | 'admin' | 'reader' | 'outsider';

interface Credential extends Shown {
  readonly is: Identity;
  /** For requests that are no WebSocket. */
  readonly isElsewhere?: Identity;
}

const client = { usages: ['client'] } as const;
const admins = { ...client, commonName: 'someone', organizations: ['admins'] };
const remoteAdmin = { 'X-Remote-User': 'someone', 'X-Remote-Group': ['a', 'admins'] };
const proxy = await proxies.issue({ ...client, commonName: 'front-proxy' });
const expired = { notBefore: new Date(Date.now() - 2 * HOUR_MS), notAfter: new Date(Date.now() - HOUR_MS) };

const CREDENTIALS: Readonly<Record<string, Credential>> = {
  'no credential': { is: 'none' },
  "an admin's certificate": { certificate: await users.issue(admins), is: 'admin' },
  "a reader's certificate": { certificate: await users.issue({ ...client, commonName: 'reader' }), is: 'reader' },
  'a certificate without any right': {
    certificate: await users.issue({ ...client, commonName: 'eve' }),
    is: 'outsider',
  },
  'an expired certificate': { certificate: await users.issue({ ...admins, ...expired }), is: 'none' },
  'a certificate of another CA': { certificate: await strangers.issue(admins), is: 'none' },
  "a server's certificate": { certificate: await users.issue({ ...admins, usages: ['server'] }), is: 'none' },
  "a user's certificate with the proxy's name and headers": {
    certificate: await users.issue({ ...client, commonName: 'front-proxy' }),
    headers: remoteAdmin,
    is: 'outsider',
  },
  "an admin's token": { headers: { Authorization: 'Bearer admin-token' }, is: 'admin' },
  "a reader's token": { headers: { Authorization: 'Bearer reader-token' }, is: 'reader' },
  'a wrong token': { headers: { Authorization: 'Bearer admin-tokem' }, is: 'none' },
  'an empty token': { headers: { Authorization: 'Bearer ' }, is: 'none' },
  'a password': { headers: { Authorization: 'Basic YWRtaW46YWRtaW4=' }, is: 'none' },
  "an admin's token as a subprotocol": { subprotocolToken: 'admin-token', is: 'admin', isElsewhere: 'none' },
  'a wrong token as a subprotocol': { subprotocolToken: 'admin-tokem', is: 'none' },
  'an expired certificate and a valid token': {
    certificate: await users.issue({ ...admins, ...expired }),
    headers: { Authorization: 'Bearer reader-token' },
    is: 'reader',
  },
  'a front proxy that names an admin': { certificate: proxy, headers: remoteAdmin, is: 'admin' },
  'a front proxy that names a reader': { certificate: proxy, headers: { 'X-Remote-User': 'reader' }, is: 'reader' },
  'a front proxy that names nobody': { certificate: proxy, is: 'none' },
  'an expired front proxy': {
    certificate: await proxies.issue({ ...client, commonName: 'front-proxy', ...expired }),
    headers: remoteAdmin,
    is: 'none',
  },
  "another certificate of the proxies' CA": {
    certificate: await proxies.issue({ ...client, commonName: 'back-proxy' }),
    headers: remoteAdmin,
    is: 'none',
  },
  "a user's name on the proxies' CA": { certificate: await proxies.issue(admins), is: 'none' },
  "a front proxy's name on another CA": {
    certificate: await strangers.issue({ ...client, commonName: 'front-proxy' }),
    headers: remoteAdmin,
    is: 'none',
  },
  'identity headers without a certificate': { headers: remoteAdmin, is: 'none' },
  'identity headers with a token': {
    headers: { ...remoteAdmin, Authorization: 'Bearer reader-token' },
    is: 'reader',
  },
};

async function ask(credential: Credential, path: string, shape: Shape): Promise<Answer> {
  const answer = await credentials.ask(served.daemon.port, path, shape, credential);
  assert.doesNotMatch(JSON.stringify(answer), /bearer|admin-token|reader-token/, 'a token is never sent back');
  return answer;
}

/** The text of a refusal: the body, or what its Status says, whose code must be that of the answer. */
function messageOf({ status, body }: Answer): string {
  if (!body.startsWith('{"kind":"Status"')) return body;
  const { code, message } = JSON.parse(body) as { code: number; message: string };
  assert.equal(code, status);
  return message;
}

interface Expected {
  readonly status: number;
  readonly body: RegExp;
}

const ok = (body: RegExp): Expected => ({ status: 200, body });
const NOTHING_THERE: Expected = { status: 404, body: /not found|could not find/i };
const NOT_ALLOWED: Expected = { status: 405, body: /does not allow this method/ };
const NO_RUN: Expected = { status: 501, body: /not run: it cannot create pods/ };
const forbidden = (what: string): Expected => ({ status: 403, body: new RegExp(`cannot ${what}`) });
const isUpgrade = (shape: Shape): boolean => shape.endsWith('upgrade');

/** What each path answers to whoever is known; by hand, not by the daemon's own reckoning. */
type Rule = (identity: Exclude<Identity, 'none'>, shape: Shape) => Expected;

const exec: Rule = (identity, shape) => {
  if (identity !== 'admin') return forbidden('create resource "pods/exec" in API group "" in the namespace "default"');
  return isUpgrade(shape) ? { status: 101, body: /^$/ } : { status: 400, body: /Upgrade request required/ };
};
interface Reading {
  /** Who may, beside the admin. */
  readonly readers?: readonly Identity[];
  /** What everybody else is told they cannot. */
  readonly what: string;
  /** What a GET answers. */
  readonly holds: RegExp;
  readonly posted: Expected;
}
const reading =
  ({ readers = [], what, holds, posted }: Reading): Rule =>
  (identity, shape) => {
    if (identity !== 'admin' && !readers.includes(identity)) return forbidden(what);
    return isUpgrade(shape) ? NOTHING_THERE : shape === 'GET' ? ok(holds) : posted;
  };
const discovery =
  (holds: RegExp): Rule =>
  (_identity, shape) => {
    if (isUpgrade(shape)) return NOTHING_THERE;
    return shape === 'GET' ? ok(holds) : NOT_ALLOWED;
  };
const nothing: Rule = () => NOTHING_THERE;
const notServed: Rule = () => ({ status: 501, body: /execlet serves exec only/ });

const API_EXEC = '/api/v1/namespaces/default/pods/web/exec?command=true&stdout=true';
const IN_DEFAULT = 'resource "pods" in API group "" in the namespace "default"';
const EVERYWHERE = 'list resource "pods" in API group "" at the cluster scope';
const SESSIONS = 'list resource "sessions" in API group "execlet.dev" at the cluster scope';
const PATHS: readonly [path: string, rule: Rule][] = [
  ['/exec/default/web/app?command=true&output=1', exec],
  [API_EXEC, exec],
  [
    '/api/v1/namespaces/default/pods',
    reading({ readers: ['reader'], what: `list ${IN_DEFAULT}`, holds: /"PodList".*"web"/s, posted: NO_RUN }),
  ],
  [
    '/api/v1/namespaces/default/pods/web',
    reading({ readers: ['reader'], what: `get ${IN_DEFAULT}`, holds: /"Pod".*"web"/s, posted: NOT_ALLOWED }),
  ],
  [
    '/api/v1/namespaces/other/pods',
    reading({ what: `list ${IN_DEFAULT.replace('default', 'other')}`, holds: /"items":\[\]/, posted: NO_RUN }),
  ],
  ['/api/v1/pods', reading({ what: EVERYWHERE, holds: /"PodList".*"web"/s, posted: NOT_ALLOWED })],
  ['/pods', reading({ what: EVERYWHERE, holds: /"PodList".*"web"/s, posted: NOT_ALLOWED })],
  ['/metrics', reading({ what: 'get path "/metrics"', holds: /^execlet_build_info/m, posted: NOTHING_THERE })],
  ['/version', discovery(/"minor":"32"/)],
  ['/api', discovery(/"APIVersions"/)],
  ['/apis', discovery(/"APIGroupList"/)],
  ['/api/v1', discovery(/"APIResourceList"/)],
  ['/api/v1/namespaces/default', discovery(/"Namespace".*"default"/)],
  ['/api/v1/namespaces/nothing-is-here', discovery(/"Namespace".*"nothing-is-here"/)],
  ['/execlet/v1/sessions', reading({ what: SESSIONS, holds: /"sessions":\[/, posted: NOTHING_THERE })],
  ['/attach/default/web/app', notServed],
  ['/api/v1/namespaces/default/pods/web/log', notServed],
  ['/api/v1/namespaces/default/pods/web/ephemeralcontainers', notServed],
  ['/nothing', nothing],
  ['/api/v1/nodes', nothing],
  ['/api/v1/namespaces', nothing],
  ['/openapi/v2', nothing],
];
const OPEN_PATHS = ['/healthz', '/livez', '/readyz'];

for (const [name, credential] of Object.entries(CREDENTIALS)) {
  test(`${name}: every path, by GET, POST, SPDY and WebSocket`, async () => {
    const wrong: string[] = [];
    for (const [path, rule] of PATHS) {
      for (const shape of Object.keys(SHAPES) as Shape[]) {
        const identity = shape === 'WebSocket upgrade' ? credential.is : (credential.isElsewhere ?? credential.is);
        const expected = identity === 'none' ? { status: 401, body: /Unauthorized/ } : rule(identity, shape);
        const answer = await ask(credential, path, shape);
        const { status } = answer;
        const body = messageOf(answer);
        if (status !== expected.status || !expected.body.test(body)) {
          wrong.push(
            `${shape} ${path}: ${status} ${body.slice(0, 200)} instead of ${expected.status} ${String(expected.body)}`,
          );
        }
      }
    }
    for (const path of OPEN_PATHS) {
      const { status } = await ask(credential, path, 'GET');
      if (status !== 200) wrong.push(`GET ${path}: ${status}`);
    }
    assert.deepEqual(wrong, []);
  });
}

test('where anonymous callers are served, a credential that is wrong is refused all the same', async () => {
  const { port } = anonymous ?? served.daemon;
  const unshown = ['no credential', 'identity headers without a certificate'];
  for (const [name, credential] of Object.entries(CREDENTIALS)) {
    for (const shape of Object.keys(SHAPES) as Shape[]) {
      if (credential.subprotocolToken !== undefined && shape !== 'WebSocket upgrade') continue;
      const answer = await credentials.ask(port, API_EXEC, shape, credential);
      const user = unshown.includes(name) ? /User "system:anonymous" cannot create/ : /^Unauthorized$/;
      if (credential.is !== 'none') assert.doesNotMatch(messageOf(answer), /anonymous|Unauthorized/, name);
      else assert.match(messageOf(answer), user, `${name}, ${shape}`);
    }
  }
});

test('a WebSocket exec is a GET, and the permission to get is not enough for it', async () => {
  const reader: Credential = { headers: { Authorization: 'Bearer reader-token' }, is: 'reader' };
  assert.equal((await ask(reader, '/api/v1/namespaces/default/pods/web', 'GET')).status, 200);
  const answer = await ask(reader, API_EXEC, 'WebSocket upgrade');
  assert.equal(answer.status, 403);
  assert.equal(
    messageOf(answer),
    'pods "web" is forbidden: User "reader" cannot create resource "pods/exec" in API group "" in the namespace "default": no authorization rule allows it',
  );
});

test('a pod that does not exist looks like one that may not be used', async () => {
  const reader: Credential = { headers: { Authorization: 'Bearer reader-token' }, is: 'reader' };
  const missing = await ask(reader, API_EXEC.replace('pods/web', 'pods/gone'), 'WebSocket upgrade');
  assert.equal(missing.status, 403);
});

test('impersonation is refused whoever asks, on every path but the open ones', async () => {
  for (const credential of Object.values(CREDENTIALS)) {
    const impersonating = { ...credential, headers: { ...credential.headers, 'Impersonate-User': 'someone' } };
    for (const shape of Object.keys(SHAPES) as Shape[]) {
      const { status, body } = await ask(impersonating, API_EXEC, shape);
      assert.deepEqual([status, body.includes('impersonation is not supported')], [403, true]);
    }
  }
});
