import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { ApiReviews } from '../../../src/access/api-reviews.ts';
import type { AnswerSource } from '../../../src/access/answer-cache.ts';
import { AUTHENTICATED_GROUP, type Caller } from '../../../src/access/caller.ts';
import { TokenReviewer } from '../../../src/access/token-reviewer.ts';
import { WebhookAuthorizer } from '../../../src/access/webhook-authorizer.ts';
import { ExecletError } from '../../../src/errors.ts';
import { Authority } from '../../support/authority.ts';
import { ReviewServer, type AccessSpec, type Fault, type KubeconfigOptions } from '../../support/review-server.ts';

const TOKEN = 'the-token-of-jane';
const JANE: Caller = {
  name: 'jane',
  uid: 'u-1',
  groups: ['developers', AUTHENTICATED_GROUP],
  extra: new Map([['example.com/team', ['a', 'b']]]),
  proof: 'token_review',
};
const QUESTION = {
  verb: 'create',
  group: '',
  resource: 'pods',
  subresource: 'exec',
  namespace: 'default',
  name: 'web',
} as const;

/** The settings' defaults. */
const TOKEN_TTL_MS = 2 * 60_000;
const ACCESS_TTLS = { cacheAuthorizedTtlMs: 5 * 60_000, cacheUnauthorizedTtlMs: 30_000 };

let server: ReviewServer;
let opened: ApiReviews[] = [];

beforeEach(async () => {
  server = await ReviewServer.start();
  server.users.set(TOKEN, {
    username: 'jane',
    uid: 'u-1',
    groups: ['developers'],
    extra: { 'Example.com/Team': ['a', 'b'] },
  });
});

afterEach(async () => {
  for (const reviews of opened) reviews.close();
  opened = [];
  await server.close();
  mock.reset();
});

async function open({ timeoutMs, ...options }: KubeconfigOptions & { timeoutMs?: number } = {}): Promise<ApiReviews> {
  const kubeconfig = await server.kubeconfig(options);
  const reviews = await ApiReviews.open({ kubeconfig, ...(timeoutMs !== undefined && { timeoutMs }) });
  opened.push(reviews);
  return reviews;
}

/** The failure of the review, which must be for the person at the other end and hold no secret, however deep one looks. */
async function failure(review: Promise<unknown>): Promise<string> {
  const error = await review.then(
    value => assert.fail(`answered ${inspect(value)}`),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof ExecletError, inspect(error));
  assert.equal(error.code, 'RuntimeUnavailable');
  assert.equal(error.cause, undefined);
  const everything = inspect(error, { depth: Infinity, showHidden: true });
  for (const secret of [TOKEN, server.token, 'PRIVATE KEY', 'Bearer', '"spec"']) {
    assert.ok(!everything.includes(secret), `${secret} is in ${everything}`);
  }
  assert.ok(!error.message.includes('\n'));
  return error.message;
}

test('a token that the API server knows is its caller, with all that it says of them', async () => {
  const reviews = await open();
  assert.deepEqual(await reviews.reviewToken(TOKEN), JANE);
  const [{ headers, body } = assert.fail()] = server.received;
  assert.equal(headers.authorization, `Bearer ${server.token}`);
  assert.match(headers['user-agent'] ?? '', /^execlet\//);
  assert.deepEqual(JSON.parse(body), {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenReview',
    spec: { token: TOKEN },
  });
});

test('a caller of whom only the name is known, and one who is in the group of the authenticated already', async () => {
  const reviews = await open();
  server.users.set('bare', { username: 'bare', groups: null });
  assert.deepEqual(await reviews.reviewToken('bare'), {
    name: 'bare',
    groups: [AUTHENTICATED_GROUP],
    extra: new Map(),
    proof: 'token_review',
  });
  server.users.set('in', { username: 'in', groups: [AUTHENTICATED_GROUP, 'x'] });
  assert.deepEqual((await reviews.reviewToken('in'))?.groups, [AUTHENTICATED_GROUP, 'x']);
});

test('a token that the API server does not know is nobody', async () => {
  const reviews = await open();
  assert.equal(await reviews.reviewToken('another'), undefined);
});

test('an authenticated caller without a name is no answer', async () => {
  const reviews = await open();
  server.users.set('nameless', { username: '', groups: ['system:masters'] });
  assert.match(await failure(reviews.reviewToken('nameless')), /no TokenReview/);
});

test('the question about a resource, with all that is known of the caller', async () => {
  const reviews = await open();
  const asked: AccessSpec[] = [];
  server.decide = spec => {
    asked.push(spec);
    return { allowed: true, reason: 'RBAC: allowed by …' };
  };
  assert.deepEqual(await reviews.reviewAccess(JANE, QUESTION), { allowed: true });
  const metrics = { verb: 'get', path: '/metrics' };
  assert.deepEqual(
    await reviews.reviewAccess({ name: 'joe', groups: [], extra: new Map(), proof: 'front_proxy' }, metrics),
    { allowed: true },
  );
  assert.deepEqual(asked, [
    {
      user: 'jane',
      uid: 'u-1',
      groups: ['developers', AUTHENTICATED_GROUP],
      extra: { 'example.com/team': ['a', 'b'] },
      resourceAttributes: QUESTION,
    },
    { user: 'joe', groups: [], extra: {}, nonResourceAttributes: metrics },
  ]);
});

test('a denial has the reason that the API server gives, cut to a bound', async () => {
  const reviews = await open();
  server.decide = () => ({ allowed: false, reason: 'not today' });
  assert.deepEqual(await reviews.reviewAccess(JANE, QUESTION), { allowed: false, reason: 'not today' });
  server.decide = () => ({ allowed: false, reason: 'r'.repeat(5000) });
  assert.deepEqual(await reviews.reviewAccess(JANE, QUESTION), { allowed: false, reason: 'r'.repeat(1024) });
  server.decide = () => ({ allowed: false });
  assert.deepEqual(await reviews.reviewAccess(JANE, QUESTION), { allowed: false });
});

test('allowed and denied at once is denied', async () => {
  const reviews = await open();
  server.decide = () => ({ allowed: true, denied: true });
  assert.deepEqual(await reviews.reviewAccess(JANE, QUESTION), { allowed: false });
});

test('rules that could not be evaluated allow nothing, and are not named', async () => {
  const reviews = await open();
  server.decide = () => ({ allowed: false, evaluationError: 'clusterrole "secret" not found' });
  assert.deepEqual(await reviews.reviewAccess(JANE, QUESTION), {
    allowed: false,
    reason: 'the API server could not evaluate all rules',
  });
});

for (const allowed of ['true', 1, undefined, null]) {
  test(`${JSON.stringify(allowed)} in place of true or false allows nothing`, async () => {
    const reviews = await open();
    server.decide = () => ({ allowed });
    assert.match(await failure(reviews.reviewAccess(JANE, QUESTION)), /no SubjectAccessReview/);
  });
}

const FAULTS: readonly (readonly [Fault, RegExp])[] = [
  [{ status: 400 }, /the API server answers 400; see whether the server it asks is an API server$/],
  [{ status: 404 }, /the API server answers 404; /],
  [{ status: 204 }, /the API server answers 204; /],
  ['redirect', /the API server answers 307; /],
  ['not JSON', /the answer is no TokenReview of authentication\.k8s\.io\/v1; see whether/],
  ['plain text', /the answer is no TokenReview/],
  ['another kind', /the answer is no TokenReview/],
  ['no status', /the answer is no TokenReview/],
  ['huge', /the answer is longer than 1 MiB; see whether/],
];
for (const [fault, message] of FAULTS) {
  test(`${inspect(fault)} is a failure that is not asked about again, and follows nobody`, async () => {
    const reviews = await open();
    server.faults.push(fault);
    assert.match(await failure(reviews.reviewToken(TOKEN)), message);
    assert.deepEqual(
      server.received.map(({ path }) => path),
      ['/apis/authentication.k8s.io/v1/tokenreviews'],
    );
    assert.deepEqual(await reviews.reviewToken(TOKEN), JANE);
  });
}

const PASSING: readonly (readonly [Fault, RegExp])[] = [
  [{ status: 429 }, /^cannot check the token: the API server answers 429; try again when it is well$/],
  [{ status: 500 }, /the API server answers 500; /],
  [{ status: 503 }, /the API server answers 503; /],
  ['hang up', /cannot reach the API server \(ECONNRESET\); see whether it runs and this node reaches it/],
  ['unasked upgrade', /cannot reach the API server \(ECONNRESET\)/],
];
for (const [fault, message] of PASSING) {
  test(`${inspect(fault)} is asked about once more, and no more than that`, async () => {
    const reviews = await open();
    server.faults.push(fault);
    assert.deepEqual(await reviews.reviewToken(TOKEN), JANE);
    assert.equal(server.received.length, 2);
    server.faults.push(fault, fault);
    assert.match(await failure(reviews.reviewToken(TOKEN)), message);
    assert.equal(server.received.length, 4);
  });
}

for (const fault of ['silence', 'half an answer'] as const) {
  test(`${fault} ends with the deadline, which a second attempt does not prolong`, async () => {
    const reviews = await open({ timeoutMs: 200 });
    server.faults.push(fault);
    assert.match(await failure(reviews.reviewToken(TOKEN)), /no answer from the API server within 0\.2 s; see whether/);
    assert.equal(server.received.length, 1);
  });
}

test('the deadline ends the pause before the second attempt too', async () => {
  const reviews = await open({ timeoutMs: 200 });
  server.faults.push({ status: 503 });
  assert.match(await failure(reviews.reviewToken(TOKEN)), /answers 503/);
  assert.equal(server.received.length, 1);
});

test("a credential of execlet's own that is not good enough: the right that it lacks", async () => {
  const reviews = await open({ user: { token: 'of somebody else' } });
  assert.match(
    await failure(reviews.reviewToken(TOKEN)),
    /own credential \(401\); renew it, and give its account the right to create tokenreviews\.authentication\.k8s\.io \(the ClusterRole system:auth-delegator has it\)$/,
  );
  server.faults.push({ status: 403 });
  assert.match(
    await failure(reviews.reviewAccess(JANE, QUESTION)),
    /^cannot check what the caller may do: execlet may not ask the API server \(403\); give its account the right to create subjectaccessreviews\.authorization\.k8s\.io /,
  );
});

test('an API server that is away', async () => {
  const reviews = await open();
  await server.close();
  assert.match(await failure(reviews.reviewToken(TOKEN)), /cannot reach the API server \(ECONNREFUSED\)/);
});

test('an API server that another authority vouches for is told nothing', async () => {
  const other = await Authority.create('other');
  const reviews = await open({
    cluster: { 'certificate-authority-data': Buffer.from(other.certificate).toString('base64') },
  });
  assert.match(
    await failure(reviews.reviewToken(TOKEN)),
    /no trusted TLS connection to the API server \([A-Z_]+\); see its certificate/,
  );
  assert.equal(server.received.length, 0);
});

test('the name that tls-server-name gives is the one that the certificate must have', async () => {
  const right = await open({ cluster: { 'tls-server-name': 'api.example' } });
  assert.deepEqual(await right.reviewToken(TOKEN), JANE);
  const wrong = await open({ cluster: { 'tls-server-name': 'other.example' } });
  assert.match(await failure(wrong.reviewToken(TOKEN)), /ERR_TLS_CERT_ALTNAME_INVALID/);
});

test('one connection serves one review after the other', async () => {
  const reviews = await open();
  for (let i = 0; i < 5; i++) await reviews.reviewToken(TOKEN);
  server.faults.push({ status: 404 });
  await failure(reviews.reviewToken(TOKEN));
  await reviews.reviewAccess(JANE, QUESTION);
  assert.equal(server.received.length, 7);
  assert.equal(server.handshakes, 1);
});

test('a connection that the API server closes upon a review is replaced at once, without the pause of a second attempt', async () => {
  const reviews = await open({ timeoutMs: 400 });
  await reviews.reviewToken(TOKEN);
  server.faults.push('hang up');
  assert.deepEqual(await reviews.reviewToken(TOKEN), JANE);
  server.closeIdleConnections();
  assert.deepEqual(await reviews.reviewToken(TOKEN), JANE);
  assert.equal(server.handshakes, 3);
});

test('a review leaves no timer behind, however it ends', async () => {
  const timers = (): number => process.getActiveResourcesInfo().filter(resource => resource === 'Timeout').length;
  const reviews = await open();
  const before = timers();
  await reviews.reviewToken(TOKEN);
  server.faults.push({ status: 503 }, { status: 503 });
  await failure(reviews.reviewToken(TOKEN));
  assert.equal(timers(), before);
});

test('closing ends a review under way', async () => {
  const reviews = await open();
  server.faults.push('silence');
  const failed = failure(reviews.reviewToken(TOKEN));
  await server.arrived(1);
  reviews.close();
  assert.match(await failed, /execlet stops/);
});

test('a client certificate shows who we are, and is read again when its files change', async () => {
  const [cert, key] = await Promise.all([
    server.write('client.crt', server.client.cert),
    server.write('client.key', server.client.key),
  ]);
  const reviews = await open({ user: { 'client-certificate': 'client.crt', 'client-key': 'client.key' } });
  assert.deepEqual(await reviews.reviewToken(TOKEN), JANE);
  assert.equal(server.received[0]?.headers.authorization, undefined);
  const stranger = await (await Authority.create('other')).issue({ commonName: 'execlet', usages: ['client'] });
  fs.writeFileSync(cert, stranger.cert);
  assert.match(await failure(reviews.reviewToken(TOKEN)), /ERR_OSSL_X509_KEY_VALUES_MISMATCH.*the client certificate$/);
  fs.writeFileSync(key, stranger.key);
  assert.match(await failure(reviews.reviewToken(TOKEN)), /\(401\)/);
  fs.writeFileSync(cert, server.client.cert);
  fs.writeFileSync(key, server.client.key);
  assert.deepEqual(await reviews.reviewToken(TOKEN), JANE);
});

test('credentials that are in the kubeconfig itself', async () => {
  const [cert, key] = [server.client.cert, server.client.key].map(pem => Buffer.from(pem).toString('base64'));
  const reviews = await open({ user: { 'client-certificate-data': cert, 'client-key-data': key } });
  assert.deepEqual(await reviews.reviewToken(TOKEN), JANE);
});

test('a token file is read again after a minute, wins over the token beside it, and may end with a line break', async () => {
  mock.timers.enable({ apis: ['Date'], now: Date.now() });
  await server.write('token', `${server.token}\n`);
  const reviews = await open({ user: { tokenFile: 'token', token: 'stale' } });
  assert.deepEqual(await reviews.reviewToken(TOKEN), JANE);
  server.token = 'the-next-token-of-execlet';
  await server.write('token', `${server.token}\n`);
  assert.match(await failure(reviews.reviewToken(TOKEN)), /\(401\)/);
  mock.timers.tick(61_000);
  assert.deepEqual(await reviews.reviewToken(TOKEN), JANE);
});

test('a token file that is gone when it is to be read again', async () => {
  mock.timers.enable({ apis: ['Date'], now: Date.now() });
  const file = await server.write('token', server.token);
  const reviews = await open({ user: { tokenFile: file } });
  fs.rmSync(file);
  mock.timers.tick(61_000);
  assert.match(await failure(reviews.reviewToken(TOKEN)), /cannot read its own credential \(ENOENT\)/);
});

test("in a pod it is the pod's service account, whose token is read again after a minute", async () => {
  const mounted = '/var/run/secrets/kubernetes.io/serviceaccount/';
  // client-node knows no other place, and reads it through the module's own object.
  const { readFileSync } = fs;
  const mountedElsewhere = (file: unknown): Buffer =>
    typeof file === 'string' && file.startsWith(mounted)
      ? readFileSync(join(server.directory, file.slice(mounted.length)))
      : assert.fail(`reads ${String(file)}`);
  mock.method(fs, 'readFileSync', mountedElsewhere);
  mock.timers.enable({ apis: ['Date'], now: Date.now() });
  await server.write('ca.crt', server.authority.certificate);
  await server.write('token', server.token);
  process.env.KUBERNETES_SERVICE_HOST = '127.0.0.1';
  process.env.KUBERNETES_SERVICE_PORT = String(server.port);
  try {
    const reviews = await ApiReviews.open({});
    opened.push(reviews);
    assert.deepEqual(await reviews.reviewToken(TOKEN), JANE);
    server.token = 'the-next-token-of-execlet';
    await server.write('token', server.token);
    mock.timers.tick(61_000);
    assert.deepEqual(await reviews.reviewToken(TOKEN), JANE);
    fs.rmSync(join(server.directory, 'token'));
    await assert.rejects(ApiReviews.open({}), {
      message: `the pod's service account: ${mounted}token: cannot be read (ENOENT)`.replace(
        mounted,
        `${server.directory}/`,
      ),
    });
  } finally {
    delete process.env.KUBERNETES_SERVICE_HOST;
    delete process.env.KUBERNETES_SERVICE_PORT;
  }
});

test('outside of a pod a kubeconfig is needed', async () => {
  await assert.rejects(ApiReviews.open({}), {
    message: "the pod's service account: KUBERNETES_SERVICE_HOST is not set: outside of a pod a kubeconfig is needed",
  });
});

async function openingFails(file: string, message: string): Promise<void> {
  const error = await ApiReviews.open({ kubeconfig: file }).then(
    () => assert.fail('opened'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof Error);
  assert.equal(error.message, message.replaceAll('DIR/', `${server.directory}/`).replaceAll('FILE', file));
  const everything = inspect(error, { depth: Infinity, showHidden: true });
  assert.ok(!everything.includes('s3cret'), everything);
}

const KEYS = '(certificate-authority, token, tokenFile and client certificate are)';
const REFUSED: readonly (readonly [string, KubeconfigOptions, string])[] = [
  ['no credential', { user: {} }, 'FILE: the user has neither a token nor a client certificate with its key'],
  ['a proxy', { cluster: { 'proxy-url': 'http://s3cret' } }, `FILE: proxy-url: not supported by execlet ${KEYS}`],
  [
    'no verification',
    { cluster: { 'insecure-skip-tls-verify': true } },
    `FILE: insecure-skip-tls-verify: not supported by execlet ${KEYS}`,
  ],
  ['a plugin', { user: { exec: { command: 's3cret' } } }, `FILE: exec: not supported by execlet ${KEYS}`],
  ['a password', { user: { password: 's3cret' } }, `FILE: password: not supported by execlet ${KEYS}`],
  ['impersonation', { user: { token: 's3cret', as: 's3cret' } }, `FILE: as: not supported by execlet ${KEYS}`],
  [
    'half of it',
    { user: { token: 's3cret', 'as-groups': ['s3cret'] } },
    `FILE: as-groups: not supported by execlet ${KEYS}`,
  ],
  [
    'plain HTTP',
    { cluster: { server: 'http://127.0.0.1:8080' } },
    'FILE: the server is not https://, and whoever can answer for it decides who gets in',
  ],
  ['a server without a URL', { cluster: { server: 's3cret' } }, 'FILE: the server is not a URL'],
  ['no server', { cluster: { server: '' } }, 'FILE: clusters[0].cluster.server is missing'],
  ['a token file that is not there', { user: { tokenFile: 'none' } }, 'FILE: DIR/none: cannot be read (ENOENT)'],
  [
    'an authority that is not there',
    { cluster: { 'certificate-authority': 'none.crt' } },
    'FILE: DIR/none.crt: cannot be read (ENOENT)',
  ],
  [
    'an authority that is no certificate',
    { cluster: { 'certificate-authority-data': Buffer.from('s3cret').toString('base64') } },
    'FILE: certificate-authority, client-certificate and client-key cannot be used (ERR_OSSL_PEM_NO_START_LINE)',
  ],
  [
    'a certificate that is none',
    { user: { 'client-certificate-data': Buffer.from('s3cret').toString('base64'), 'client-key-data': 'czNjcmV0' } },
    'FILE: certificate-authority, client-certificate and client-key cannot be used (ERR_OSSL_PEM_NO_START_LINE)',
  ],
];
for (const [title, options, message] of REFUSED) {
  test(`opening refuses ${title} in one line that names the file and quotes nothing of it`, async () => {
    await openingFails(await server.kubeconfig(options), message);
  });
}

test('opening refuses what is no kubeconfig in one line that quotes nothing of it', async () => {
  await openingFails(join(server.directory, 'missing'), 'FILE: cannot be read (ENOENT)');
  await openingFails(server.directory, 'FILE: cannot be read (EISDIR)');
  await openingFails(await server.write('empty', ''), 'FILE: not a kubeconfig');
  await openingFails(await server.write('broken', 'token: "s3cret\nusers: ]'), 'FILE: not a kubeconfig');
  await openingFails(
    await server.write('other', 'kind: Pod\nname: s3cret'),
    'FILE: current-context does not name a context with a cluster and a user',
  );
});

test('a token reviewer asks once for a known token, and for an unknown one once in a while', async () => {
  let now = 0;
  const answers: { kind: string; result: AnswerSource }[] = [];
  const reviewer = new TokenReviewer({
    reviews: await open(),
    cacheTtlMs: TOKEN_TTL_MS,
    onAnswer: answer => answers.push(answer),
    now: () => now,
  });
  assert.deepEqual(await Promise.all([reviewer.authenticate(TOKEN), reviewer.authenticate(TOKEN)]), [JANE, JANE]);
  assert.equal(await reviewer.authenticate('another'), undefined);
  now = 9_999;
  assert.equal(await reviewer.authenticate('another'), undefined);
  assert.equal(server.received.length, 2);
  server.users.set('another', { username: 'joe' });
  now = 10_000;
  assert.equal((await reviewer.authenticate('another'))?.name, 'joe');
  server.users.clear();
  now = 119_999;
  assert.deepEqual(await reviewer.authenticate(TOKEN), JANE);
  now = 120_000;
  assert.equal(await reviewer.authenticate(TOKEN), undefined);
  assert.deepEqual(
    answers,
    ['cached', 'allowed', 'denied', 'cached', 'allowed', 'cached', 'denied'].map(result => ({ kind: 'token', result })),
  );
});

test('a token reviewer does not remember a failure', async () => {
  const reviewer = new TokenReviewer({ reviews: await open(), cacheTtlMs: TOKEN_TTL_MS });
  server.faults.push({ status: 404 });
  await failure(reviewer.authenticate(TOKEN));
  assert.deepEqual(await reviewer.authenticate(TOKEN), JANE);
});

test('a token reviewer keeps an unknown token no longer than a known one', async () => {
  const reviewer = new TokenReviewer({ reviews: await open(), cacheTtlMs: 0 });
  for (const token of ['another', 'another', TOKEN, TOKEN]) await reviewer.authenticate(token);
  assert.equal(server.received.length, 4);
});

test('an empty token and one longer than any are nobody, and are asked about nowhere', async () => {
  const reviewer = new TokenReviewer({ reviews: await open(), cacheTtlMs: TOKEN_TTL_MS });
  const longest = 'ä'.repeat(16 * 1024);
  server.users.set(longest, { username: 'long' });
  assert.equal(await reviewer.authenticate(''), undefined);
  assert.equal(await reviewer.authenticate(`${longest}x`), undefined);
  assert.equal(server.received.length, 0);
  assert.equal((await reviewer.authenticate(longest))?.name, 'long');
});

test('a webhook authorizer asks for each question once, and again when its answer has had its time', async () => {
  let now = 0;
  const answers: { kind: string; result: AnswerSource }[] = [];
  const authorizer = new WebhookAuthorizer({
    reviews: await open(),
    ...ACCESS_TTLS,
    resource: 'pods/exec',
    nodeName: 'node-1',
    onAnswer: answer => answers.push(answer),
    now: () => now,
  });
  const asked: AccessSpec[] = [];
  server.decide = spec => {
    asked.push(spec);
    return { allowed: spec.user === 'jane', reason: 'only jane' };
  };
  const joe: Caller = { ...JANE, name: 'joe' };
  const exec = (command: string) =>
    ({ kind: 'exec', namespace: 'default', pod: 'web', container: 'app', command: [command] }) as const;
  const denied = { allowed: false, reason: 'only jane' };
  assert.deepEqual(await authorizer.decide(JANE, exec('ls')), { allowed: true });
  assert.deepEqual(await authorizer.decide({ ...JANE, proof: 'front_proxy' }, exec('id')), { allowed: true });
  assert.deepEqual(await authorizer.decide(joe, exec('ls')), denied);
  now = 29_999;
  assert.deepEqual(await authorizer.decide(joe, exec('ls')), denied);
  assert.equal(asked.length, 2);
  now = 30_000;
  assert.deepEqual(await authorizer.decide(joe, exec('ls')), denied);
  now = 299_999;
  assert.deepEqual(await authorizer.decide(JANE, exec('ls')), { allowed: true });
  now = 300_000;
  assert.deepEqual(await authorizer.decide(JANE, exec('ls')), { allowed: true });
  assert.deepEqual(
    asked.map(({ user, resourceAttributes }) => [user, resourceAttributes]),
    ['jane', 'joe', 'joe', 'jane'].map(user => [user, QUESTION]),
  );
  assert.deepEqual(
    answers,
    ['allowed', 'cached', 'denied', 'cached', 'denied', 'cached', 'allowed'].map(result => ({
      kind: 'access',
      result,
    })),
  );
});

test('whatever the API server is told of a caller or an action makes another question', async () => {
  const authorizer = new WebhookAuthorizer({
    reviews: await open(),
    resource: 'pods/exec',
    nodeName: 'node-1',
    ...ACCESS_TTLS,
  });
  const list = { kind: 'pods', verb: 'list', namespace: 'default' } as const;
  const callers: Caller[] = [JANE, { ...JANE, uid: 'u-2' }, { ...JANE, groups: [] }, { ...JANE, extra: new Map() }];
  for (const caller of [...callers, ...callers]) await authorizer.decide(caller, list);
  assert.equal(server.received.length, 4);
  for (const action of [
    { kind: 'pods', verb: 'list' } as const,
    { kind: 'pods', verb: 'get', namespace: 'default', pod: 'web' } as const,
    { kind: 'sessions', verb: 'delete' } as const,
    { kind: 'metrics' } as const,
  ]) {
    await authorizer.decide(JANE, action);
  }
  assert.equal(server.received.length, 8);
});

test('with nodes/proxy the node is what is asked about', async () => {
  const authorizer = new WebhookAuthorizer({
    reviews: await open(),
    resource: 'nodes/proxy',
    nodeName: 'node-1',
    ...ACCESS_TTLS,
  });
  const asked: AccessSpec[] = [];
  server.decide = spec => {
    asked.push(spec);
    return { allowed: true };
  };
  await authorizer.decide(JANE, { kind: 'pods', verb: 'list' });
  assert.deepEqual(asked[0]?.resourceAttributes, {
    verb: 'create',
    group: '',
    resource: 'nodes',
    subresource: 'proxy',
    name: 'node-1',
  });
});
