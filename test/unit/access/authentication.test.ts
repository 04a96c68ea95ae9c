import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { Authentication, type AuthenticationOptions, type Credentials } from '../../../src/access/authentication.ts';
import type { Caller } from '../../../src/access/caller.ts';
import { CertificateBundle, type CertificateChain } from '../../../src/access/certificate-bundle.ts';
import { FrontProxy, type FrontProxyOptions } from '../../../src/access/front-proxy.ts';
import { Authority, type Issued } from '../../support/authority.ts';

const users = await Authority.create('users');
const proxies = await Authority.create('proxies');
const userBundle = new CertificateBundle(users.certificate);
const proxyBundle = new CertificateBundle(proxies.certificate);

const alice = await users.issue({ commonName: 'alice', organizations: ['dev', 'ops'], usages: ['client'] });
const proxy = await proxies.issue({ commonName: 'front', usages: ['client'] });

const tokenOf = (known: string, name: string) => ({
  authenticate: (token: string): Caller | undefined =>
    token === known ? { name, groups: [], extra: new Map(), proof: 'token_file' } : undefined,
});

function frontProxy(options: Partial<FrontProxyOptions> = {}): FrontProxy {
  return new FrontProxy({
    bundle: () => proxyBundle,
    allowedNames: ['front'],
    usernameHeaders: ['X-Remote-User'],
    groupHeaders: ['X-Remote-Group'],
    extraHeadersPrefix: 'X-Remote-Extra-',
    ...options,
  });
}

function chainOf({ cert }: Issued): CertificateChain {
  return [new X509Certificate(cert)];
}

async function ask(
  { headers = {}, ...shown }: Partial<Omit<Credentials, 'headers'>> & { headers?: NodeJS.Dict<string[]> },
  options: Partial<AuthenticationOptions> = {},
): Promise<Caller> {
  const authentication = new Authentication({
    clients: () => userBundle,
    frontProxy: frontProxy(),
    tokens: [tokenOf('one', 'first'), tokenOf('two', 'second')],
    anonymous: false,
    ...options,
  });
  return authentication.authenticate({
    chain: undefined,
    certificateShown: shown.chain !== undefined,
    token: undefined,
    headers: () => headers,
    ...shown,
  });
}

const refused = { code: 'Unauthenticated', message: 'Unauthorized' };

test("a user's certificate names the user and the groups", async () => {
  assert.deepEqual(await ask({ chain: chainOf(alice) }), {
    name: 'alice',
    groups: ['dev', 'ops', 'system:authenticated'],
    extra: new Map(),
    proof: 'client_certificate',
  });
});

test("identity headers count from an allowed proxy's certificate", async () => {
  const headers = {
    'x-remote-user': ['bob'],
    'x-remote-group': ['dev', 'ops'],
    'x-remote-extra-scopes': ['a', 'b'],
    'x-remote-extra-example.org%2fproject': ['p'],
  };
  assert.deepEqual(await ask({ chain: chainOf(proxy), headers }), {
    name: 'bob',
    groups: ['dev', 'ops', 'system:authenticated'],
    extra: new Map([
      ['scopes', ['a', 'b']],
      ['example.org/project', ['p']],
    ]),
    proof: 'front_proxy',
    proxy: 'front',
  });
});

test('names of a proxy are UTF-8, as Go sends them; what is none is taken as it came', async () => {
  const asNodeReadsIt = (name: string): string => Buffer.from(name).toString('latin1');
  const headers = { 'x-remote-user': [asNodeReadsIt('jürgen')], 'x-remote-group': ['caf\xe9'] };
  const { name, groups } = await ask({ chain: chainOf(proxy), headers });
  assert.deepEqual([name, groups], ['jürgen', ['café', 'system:authenticated']]);
});

test('identity headers from anybody else are nobody', async () => {
  const headers = { 'x-remote-user': ['bob'], 'x-remote-group': ['system:masters'] };
  await assert.rejects(ask({ headers }), refused);
  assert.equal((await ask({ headers, chain: chainOf(alice) })).name, 'alice');
  const other = await proxies.issue({ commonName: 'other', usages: ['client'] });
  await assert.rejects(ask({ headers, chain: chainOf(other) }), refused);
  assert.equal(
    (await ask({ headers, chain: chainOf(other) }, { frontProxy: frontProxy({ allowedNames: ['*'] }) })).name,
    'bob',
  );
  await assert.rejects(ask({ headers, chain: chainOf(proxy) }, { frontProxy: undefined }), refused);
});

test('each bundle vouches for its own role only', async () => {
  const headers = { 'x-remote-user': ['bob'] };
  const userNamedFront = await users.issue({ commonName: 'front', usages: ['client'] });
  assert.deepEqual(
    (await ask({ headers, chain: chainOf(userNamedFront) })).name,
    'front',
    'a user of that name, no proxy',
  );
  await assert.rejects(ask({ chain: chainOf(proxy) }), refused, 'a proxy that names nobody is no user');
  await assert.rejects(ask({ chain: chainOf(proxy), headers: { 'x-remote-user': [''] } }), refused);
});

test('an allowed proxy is no user even where one file vouches for both', async () => {
  const shared = frontProxy({ bundle: () => userBundle, allowedNames: ['alice'] });
  await assert.rejects(ask({ chain: chainOf(alice) }, { frontProxy: shared }), refused);
});

test('tokens are asked in order, after certificates', async () => {
  assert.equal((await ask({ token: 'one' })).name, 'first');
  assert.equal((await ask({ token: 'two' })).name, 'second');
  assert.equal((await ask({ token: 'two', chain: chainOf(alice) })).name, 'alice');
  const stranger = await (await Authority.create('strangers')).issue({ commonName: 'mallory', usages: ['client'] });
  assert.equal((await ask({ token: 'two', chain: chainOf(stranger) })).name, 'second');
});

test('without a credential a caller is anonymous only where that is allowed', async () => {
  await assert.rejects(ask({}), refused);
  const caller = await ask({}, { anonymous: true });
  assert.deepEqual(
    [caller.name, caller.groups, caller.proof],
    ['system:anonymous', ['system:unauthenticated'], 'anonymous'],
  );
});

test('a credential that nobody knows is refused, never anonymous', async () => {
  const options = { anonymous: true };
  await assert.rejects(ask({ token: 'wrong' }, options), refused);
  await assert.rejects(ask({ token: '' }, options), refused);
  await assert.rejects(ask({ certificateShown: true }, options), refused);
  await assert.rejects(ask({ chain: chainOf(proxy) }, options), refused);
});

test('a token that cannot be judged is not refused, and nobody is let in', async () => {
  const down = { authenticate: () => Promise.reject(new Error('unreachable')) };
  await assert.rejects(ask({ token: 'x' }, { tokens: [tokenOf('one', 'first'), down] }), /unreachable/);
});
