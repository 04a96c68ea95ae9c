import assert from 'node:assert/strict';
import { test } from 'node:test';
import { contextSettings, parseKubeconfig, type ContextSettings } from '../../../src/client/kubeconfig.ts';

const FULL = `
apiVersion: v1
kind: Config
current-context: here
preferences: {}
clusters:
- name: node
  cluster:
    server: https://node:10350
    certificate-authority: pki/ca.crt
    tls-server-name: node.internal
    extensions: [{ name: x, extension: {} }]
- name: data
  cluster: { server: "https://other", certificate-authority-data: ${btoa('CA PEM')}, certificate-authority: unused }
contexts:
- { name: here, context: { cluster: node, user: cert, namespace: web } }
- { name: there, context: { cluster: data, user: data } }
- { name: bare, context: { cluster: node } }
users:
- { name: cert, user: { client-certificate: /etc/cert.pem, client-key: key.pem } }
- name: data
  user: { client-certificate-data: ${btoa('CERT PEM')}, client-key-data: ${btoa('KEY PEM')}, token: abc }
- { name: file, user: { token: abc, tokenFile: token } }
`;

const settingsOf = (text: string, context?: string, file = '/home/me/.kube/config'): ContextSettings =>
  contextSettings([parseKubeconfig(text, file)], context);

test('current-context is taken, and relative paths are relative to the file', () => {
  assert.deepEqual(settingsOf(FULL), {
    namespace: 'web',
    server: 'https://node:10350',
    certificateAuthority: { file: '/home/me/.kube/pki/ca.crt' },
    tlsServerName: 'node.internal',
    clientCertificate: { file: '/etc/cert.pem' },
    clientKey: { file: '/home/me/.kube/key.pem' },
  });
});

test('a named context wins over current-context, and data over a file', () => {
  assert.deepEqual(settingsOf(FULL, 'there'), {
    server: 'https://other',
    certificateAuthority: { inline: 'CA PEM' },
    token: { inline: 'abc' },
    clientCertificate: { inline: 'CERT PEM' },
    clientKey: { inline: 'KEY PEM' },
  });
});

test('a context may have no user, and a kubeconfig no context', () => {
  assert.equal(settingsOf(FULL, 'bare').server, 'https://node:10350');
  assert.equal(settingsOf(FULL, 'bare').clientKey, undefined);
  assert.deepEqual(settingsOf('apiVersion: v1'), {});
  assert.deepEqual(settingsOf(''), {});
  assert.deepEqual(settingsOf('{current-context: "", clusters: null, contexts: null, users: null}'), {});
});

test('a token file wins over the token beside it', () => {
  const text = `${FULL}\n`.replace('cluster: node, user: cert', 'cluster: node, user: file');
  assert.deepEqual(settingsOf(text).token, { file: '/home/me/.kube/token' });
});

test('of several files the first that has a name wins', () => {
  const first = parseKubeconfig('{clusters: [{name: node, cluster: {server: http://first}}]}', '/a/config');
  const settings = contextSettings([first, parseKubeconfig(FULL, '/b/config')]);
  assert.equal(settings.server, 'http://first');
  assert.deepEqual(settings.clientKey, { file: '/b/key.pem' });
});

const user = (fields: string): string =>
  `{current-context: c, contexts: [{name: c, context: {user: u}}], users: [{name: u, user: {${fields}}}]}`;

const REFUSED: [title: string, text: string, message: string | RegExp][] = [
  ['no YAML', 'a: [', /^\/k\/config: [^\n]+$/],
  ['no mapping', '- a', /^\/k\/config: Invalid input: expected object/],
  [
    'a key of a wrong type',
    'clusters: [{name: a, cluster: {server: 1}}]',
    /^\/k\/config: clusters\[0\]\.cluster\.server: .*expected string/,
  ],
  ['a missing name', 'users: [{user: {}}]', /^\/k\/config: users\[0\]\.name: /],
  ['an unknown context', 'current-context: x', '/k/config: there is no context "x"'],
  [
    'an unknown cluster',
    '{current-context: c, contexts: [{name: c, context: {cluster: x}}]}',
    '/k/config: there is no cluster "x", that context "c" names',
  ],
  [
    'an unknown user',
    '{current-context: c, contexts: [{name: c, context: {user: x}}]}',
    '/k/config: there is no user "x", that context "c" names',
  ],
  ['an exec plugin', user('exec: {command: aws}'), /^\/k\/config: user "u": exec: not supported/],
  ['an auth provider', user('auth-provider: {name: gcp}'), /^\/k\/config: user "u": auth-provider: not supported/],
  ['a password', user('username: a, password: b'), /^\/k\/config: user "u": username: not supported/],
  ['impersonation', user('token: a, as: root'), /^\/k\/config: user "u": as: not supported/],
  ['impersonated groups', user('token: a, as-groups: [g]'), /^\/k\/config: user "u": as-groups: not supported/],
  ['data that is not base64', user('client-key-data: "%%"'), '/k/config: user "u": client-key-data: not base64'],
  [
    'a proxy',
    '{current-context: c, contexts: [{name: c, context: {cluster: k}}], clusters: [{name: k, cluster: {proxy-url: http://p}}]}',
    /^\/k\/config: cluster "k": proxy-url: not supported/,
  ],
];
for (const [title, text, message] of REFUSED) {
  test(`refuses ${title} in one line that names file and key`, () =>
    assert.throws(() => settingsOf(text, undefined, '/k/config'), { name: 'ClientError', message, exitCode: 2 }));
}
