import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { ConnectionFlags } from '../../../src/client/connection-flags.ts';
import { headersOf, resolveConnection, urlOf, type Connection } from '../../../src/client/connection.ts';

suite('the connection of flags, kubeconfig and environment', () => {
  let folder = '';
  const file = (name: string): string => path.join(folder, name);

  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'execlet-connection-'));
    const kubeconfig = (server: string): string =>
      JSON.stringify({
        'current-context': 'c',
        contexts: [{ name: 'c', context: { cluster: 'k', user: 'u', namespace: 'web' } }],
        clusters: [{ name: 'k', cluster: { server, 'insecure-skip-tls-verify': true } }],
        users: [{ name: 'u', user: { token: 'from-file' } }],
      });
    writeFileSync(file('https'), kubeconfig('https://node:1'));
    writeFileSync(file('http'), kubeconfig('http://node:1'));
    writeFileSync(file('text'), 'hello');
    writeFileSync(file('broken.pem'), '-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n');
  });

  after(() => rmSync(folder, { recursive: true }));

  const resolve = (flags: ConnectionFlags, env: Record<string, string> = {}): Connection =>
    resolveConnection(flags, env);

  test('the daemon on this host, without any flag', () => {
    assert.deepEqual(resolve({}), { server: new URL('http://127.0.0.1:10350'), tls: { rejectUnauthorized: true } });
  });

  test('a server without a scheme is plain HTTP, unless a flag only makes sense with TLS', () => {
    assert.equal(resolve({ server: 'node:1' }).server.href, 'http://node:1/');
    assert.equal(resolve({ server: 'node:1', token: 't' }).server.href, 'https://node:1/');
    assert.equal(resolve({ insecureSkipTlsVerify: true }).server.href, 'https://127.0.0.1:10350/');
    assert.equal(resolve({ server: '[::1]:1', tlsServerName: 'n' }).tls.servername, 'n');
  });

  test('KUBECONFIG is read, --kubeconfig wins over it, and flags over both', () => {
    const env = { KUBECONFIG: [file('missing'), file('https')].join(path.delimiter) };
    const expected = {
      server: new URL('https://node:1'),
      tls: { rejectUnauthorized: false },
      token: 'from-file',
      namespace: 'web',
    };
    assert.deepEqual(resolve({}, env), expected);
    assert.deepEqual(resolve({ kubeconfig: file('https') }, { KUBECONFIG: file('http') }), expected);
    assert.deepEqual(resolve({ server: 'https://other', token: 'from-flag' }, env), {
      ...expected,
      server: new URL('https://other'),
      token: 'from-flag',
    });
  });

  test('credentials never go over plain HTTP', () => {
    const fromFile = resolve({ kubeconfig: file('http') });
    assert.deepEqual(fromFile, {
      server: new URL('http://node:1'),
      tls: { rejectUnauthorized: true },
      namespace: 'web',
    });
    assert.deepEqual(headersOf(fromFile), {});
    assert.deepEqual(headersOf(resolve({ token: 'secret' })), { authorization: 'Bearer secret' });
  });

  const REFUSED: [title: string, flags: () => ConnectionFlags, message: string | RegExp][] = [
    [
      'a token for plain HTTP',
      () => ({ server: 'http://a', token: 't' }),
      '--token needs an https:// server, http://a is not one',
    ],
    [
      'a certificate without a key',
      () => ({ clientCertificate: file('broken.pem') }),
      /^client certificate and client key/,
    ],
    ['a missing file', () => ({ certificateAuthority: file('missing') }), /^certificate authority: ENOENT.*missing/],
    [
      'a file that is not PEM',
      () => ({ certificateAuthority: file('text') }),
      /^certificate authority: .*text: not PEM$/,
    ],
    [
      'a certificate that does not parse',
      () => ({ clientCertificate: file('broken.pem'), clientKey: file('broken.pem') }),
      /^the certificates or the key cannot be used: /,
    ],
    [
      'a CA that is not to be checked against',
      () => ({ certificateAuthority: file('broken.pem'), insecureSkipTlsVerify: true }),
      /exclude each other$/,
    ],
    ['another scheme', () => ({ server: 'ftp://a' }), 'server: "ftp://a" is not an http:// or https:// URL'],
    ['no URL', () => ({ server: 'a b' }), 'server: "a b" is not an http:// or https:// URL'],
    ['a password in the URL', () => ({ server: 'https://me:pw@a' }), /^server: a user name or password in the URL/],
    ['a missing kubeconfig', () => ({ kubeconfig: file('missing') }), /^kubeconfig: ENOENT/],
    ['a context of no kubeconfig', () => ({ context: 'c' }), '--context needs --kubeconfig or KUBECONFIG'],
  ];
  for (const [title, flags, message] of REFUSED) {
    test(`refuses ${title}`, () =>
      assert.throws(() => resolve(flags()), { name: 'ClientError', message, exitCode: 2 }));
  }

  test('refuses a KUBECONFIG of which nothing exists', () => {
    assert.throws(() => resolve({}, { KUBECONFIG: file('missing') }), {
      message: /^KUBECONFIG: .*missing: no such file$/,
    });
  });

  test("paths go below the server's own", () => {
    const query = new URLSearchParams({ a: 'b c' });
    assert.equal(
      urlOf(resolve({ server: 'http://a/k8s/' }), '/api/v1/pods', query).href,
      'http://a/k8s/api/v1/pods?a=b+c',
    );
    assert.equal(urlOf(resolve({ server: 'http://a' }), '/version').href, 'http://a/version');
  });
});
