import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { KubeConfig } from '@kubernetes/client-node';
import { contextSettings, parseKubeconfig, type ContextSettings } from '../../../src/client/kubeconfig.ts';
import { makeKubeconfig, type KubeconfigFlags } from '../../../src/commands/kubeconfig.ts';
import { selfSignedCertificate } from '../../../src/server/self-signed.ts';
import { Authority } from '../../support/authority.ts';
import { makeServerCertificate } from '../../support/certificates.ts';
import { findExecutable, mustRun } from '../../support/command.ts';
import { execlet } from './execlet.ts';

let directory: string;
let selfSigned: { cert: string; key: string };
let client: { cert: string; key: string };
let authority: Authority;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'execlet-'));
  [selfSigned, authority] = await Promise.all([makeServerCertificate(), Authority.create('test CA')]);
  client = await authority.issue({ commonName: 'alice', usages: ['client'] });
});
after(() => rm(directory, { recursive: true }));

function file(name: string, content: string): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

/** As our own commands and, the same of it, as the Kubernetes client for JavaScript read the kubeconfig. */
function readBack(flags: KubeconfigFlags): { settings: ContextSettings; js: KubeConfig } {
  const { text } = make(flags);
  const js = new KubeConfig();
  js.loadFromString(text);
  return { settings: contextSettings([parseKubeconfig(text, '/somewhere/config')]), js };
}

/** Away from a certificate that this host may have. */
function make(flags: KubeconfigFlags): ReturnType<typeof makeKubeconfig> {
  return makeKubeconfig({ certDir: join(directory, 'nothing'), ...flags });
}

test('without flags it is for the daemon on this host, with no credential and, as that serves, without TLS', () => {
  const settings = contextSettings([parseKubeconfig(makeKubeconfig({}).text, '/somewhere/config')]);
  assert.deepEqual(settings, { server: 'http://127.0.0.1:10350' });
  const { js } = readBack({});
  assert.equal(js.getCurrentContext(), 'execlet-127.0.0.1');
  assert.equal(js.getCurrentUser()?.name, 'execlet-127.0.0.1');
  assert.equal(js.getCurrentUser()?.token, undefined);
});

test('TLS is spoken where serve speaks it, and where a flag needs it', () => {
  const server = (flags: KubeconfigFlags): string =>
    contextSettings([parseKubeconfig(makeKubeconfig(flags).text, '/somewhere/config')]).server ?? '';
  assert.match(server({ address: '10.1.2.3' }), /^https:/);
  assert.match(
    server({ config: file('tls.yaml', 'certDir: /somewhere\n'), certDir: join(directory, 'nothing') }),
    /^https:/,
  );
  assert.match(server({ token: 'abc' }), /^https:/);
  assert.match(server({ insecureSkipTlsVerify: true }), /^https:/);
  assert.match(server({ config: file('plain.yaml', 'port: 1234\n') }), /^http:/);
});

test('address and port are those of serve, by flag or file, as this host reaches them', () => {
  const config = file('address.yaml', 'address: "::1"\nport: 1234\n');
  assert.equal(readBack({ config }).settings.server, 'https://[::1]:1234');
  assert.equal(readBack({ config, port: '99' }).settings.server, 'https://[::1]:99');
  assert.equal(readBack({ address: '10.1.2.3' }).settings.server, 'https://10.1.2.3:10350');
  assert.equal(readBack({ address: '0.0.0.0' }).settings.server, 'https://127.0.0.1:10350');
  assert.equal(readBack({ address: '::', port: '1' }).settings.server, 'https://[::1]:1');
  assert.equal(readBack({ config, server: 'https://node-1/base' }).settings.server, 'https://node-1/base');
  assert.equal(readBack({ server: 'node-1:443' }).settings.server, 'https://node-1:443');
  assert.equal(readBack({ server: 'http://127.0.0.1:10350' }).settings.server, 'http://127.0.0.1:10350');
});

test('names are those that were given', () => {
  const { settings, js } = readBack({
    context: 'node 1: "x"',
    userName: 'alice',
    namespace: 'web',
    tlsServerName: 'node-1.internal',
    insecureSkipTlsVerify: true,
  });
  assert.deepEqual(settings, {
    server: 'https://127.0.0.1:10350',
    namespace: 'web',
    tlsServerName: 'node-1.internal',
    insecureSkipTlsVerify: true,
  });
  assert.equal(js.getCurrentContext(), 'node 1: "x"');
  assert.equal(js.getCurrentUser()?.name, 'alice');
  assert.equal(js.getContextObject('node 1: "x"')?.namespace, 'web');
  assert.equal(js.getCurrentCluster()?.skipTLSVerify, true);
  assert.equal(js.getCurrentCluster()?.tlsServerName, 'node-1.internal');
});

test('the CA is the one given, else the certificate of the settings, else the self-signed one where it is', () => {
  const certDir = join(directory, 'pki');
  mkdirSync(certDir);
  writeFileSync(join(certDir, 'execlet.crt'), selfSigned.cert);
  const ours = { inline: `${selfSigned.cert.trim()}\n` };
  assert.deepEqual(readBack({ certDir }).settings.certificateAuthority, ours);

  const other = file('other.crt', authority.certificate);
  const config = file(
    'tls.yaml',
    `tlsCertFile: ${file('c', client.cert)}\ntlsPrivateKeyFile: ${file('k', client.key)}`,
  );
  assert.deepEqual(readBack({ certDir, config }).settings.certificateAuthority, { inline: client.cert });
  const { settings, js } = readBack({ certDir, config, certificateAuthority: other });
  assert.deepEqual(settings.certificateAuthority, { inline: authority.certificate });
  assert.equal(js.getCurrentCluster()?.caData, Buffer.from(authority.certificate).toString('base64'));

  assert.equal(readBack({ certDir, insecureSkipTlsVerify: true }).settings.certificateAuthority, undefined);
  assert.equal(readBack({ certDir, server: 'http://127.0.0.1' }).settings.certificateAuthority, undefined);
});

test('of a file that holds the private key too only the certificates are embedded', () => {
  const both = file('both.pem', `${selfSigned.key}\n${selfSigned.cert}\n${authority.certificate}`);
  const { settings } = readBack({ certificateAuthority: both });
  assert.deepEqual(settings.certificateAuthority, { inline: `${selfSigned.cert.trim()}\n${authority.certificate}` });
  const pair = file('pair.pem', `${client.cert}${client.key}`);
  const { clientCertificate, clientKey } = readBack({ clientCertificate: pair, clientKey: pair }).settings;
  assert.deepEqual([clientCertificate, clientKey], [{ inline: client.cert }, { inline: client.key }]);
});

test('warns where the certificate of the settings is trusted, and was issued by a CA', () => {
  const settings = (pair: typeof client): string =>
    file('pair.yaml', `tlsCertFile: ${file('p.crt', pair.cert)}\ntlsPrivateKeyFile: ${file('p.key', pair.key)}`);
  assert.match(
    make({ config: settings(client) }).note ?? '',
    /p\.crt was issued by a CA, .* with --certificate-authority$/,
  );
  assert.equal(make({ config: settings(selfSigned) }).note, undefined);
  assert.equal(make({ config: settings(client), insecureSkipTlsVerify: true }).note, undefined);
});

test('does not warn of the certificate that serve makes for itself, by any of the ways to it', async () => {
  const certDir = join(directory, 'own');
  const { certFile, keyFile } = await selfSignedCertificate({ certDir, nodeName: 'node-1', addresses: ['0.0.0.0'] });
  assert.equal(make({ certDir }).note, undefined);
  assert.equal(makeKubeconfig({ config: file('own-dir.yaml', `certDir: ${certDir}\n`) }).note, undefined);
  const files = file('own-files.yaml', `tlsCertFile: ${certFile}\ntlsPrivateKeyFile: ${keyFile}\n`);
  assert.equal(make({ config: files }).note, undefined);
});

test('a token is embedded, a token file is named by its absolute path', () => {
  const { settings, js } = readBack({ token: 't0p.s3cret' });
  assert.deepEqual(settings.token, { inline: 't0p.s3cret' });
  assert.equal(js.getCurrentUser()?.token, 't0p.s3cret');
  assert.deepEqual(readBack({ token: '0123' }).settings.token, { inline: '0123' }, 'and stays text');
  const tokenFile = file('token', 't0p.s3cret\n');
  const relative = tokenFile.replace(directory, `${directory}/../${directory.split('/').at(-1) ?? ''}`);
  const { text } = make({ tokenFile: relative });
  assert.match(text, new RegExp(`^ +tokenFile: ${tokenFile}$`, 'm'));
  assert.doesNotMatch(text, /s3cret/);
});

test('a client certificate and its key are embedded', () => {
  const { settings, js } = readBack({
    clientCertificate: file('a.crt', client.cert),
    clientKey: file('a.key', client.key),
  });
  assert.deepEqual(settings.clientCertificate, { inline: client.cert });
  assert.deepEqual(settings.clientKey, { inline: client.key });
  assert.equal(js.getCurrentUser()?.keyData, Buffer.from(client.key).toString('base64'));
});

test('what cannot work is a usage error of one line, without any secret', async () => {
  const good = file('good.token', 't0psecret');
  const cert = file('w.crt', client.cert);
  const key = file('w.key', client.key);
  const missing = join(directory, 'missing');
  const wrong: [flags: KubeconfigFlags, message: RegExp][] = [
    [{ token: 'a', tokenFile: good }, /^--token and --token-file exclude each other$/],
    [{ token: 'a', clientKey: key }, /^--token and --client-certificate exclude each other$/],
    [{ tokenFile: good, clientCertificate: cert, clientKey: key }, /^--token-file and --client-certificate exclude/],
    [{ token: '' }, /^--token: must not be empty/],
    [{ token: 't0psecret with spaces' }, /^--token: .* no spaces/],
    [{ tokenFile: missing }, /^--token-file: ENOENT/],
    [{ tokenFile: file('two', 't0psecret\nt0psecret') }, /^--token-file: .* holds something else than a token$/],
    [
      { tokenFile: file('one.csv', 't0psecret,alice,1,ops\n') },
      /^--token-file: \S+ holds more than a token alone, .* \(CSV\) does: give --token "\$\(cut -d, -f1 \S+one\.csv\)"$/,
    ],
    [
      { tokenFile: file('more.csv', 't0psecret,alice,1,"a b"\nt0psecret2,bob,2\n') },
      /: give --token "\$\(grep ,USER, \S+more\.csv \| cut -d, -f1\)"$/,
    ],
    [{ clientCertificate: cert }, /only of use together/],
    [{ clientKey: key }, /only of use together/],
    [{ clientCertificate: cert, clientKey: file('x.key', selfSigned.key) }, /cannot be used: /],
    [{ certificateAuthority: cert, insecureSkipTlsVerify: true }, /exclude each other$/],
    [{ certificateAuthority: missing }, /^--certificate-authority: ENOENT/],
    [{ certificateAuthority: key }, /w\.key: holds no certificate in PEM$/],
    [
      { certificateAuthority: file('g', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----') },
      /cannot be read/,
    ],
    [{ server: 'https://n', port: '1' }, /^--server and --port exclude each other$/],
    [{ server: 'https://n', address: '127.0.0.1' }, /^--server and --address exclude each other$/],
    [{ server: 'ftp://n' }, /^server: "ftp:\/\/n" is not/],
    [{ server: 'http://n', token: 't0psecret' }, /^--token needs an https:\/\/ server, http:\/\/n is not one$/],
    [{ server: 'http://n', tokenFile: good }, /^--token-file needs an https/],
    [{ server: 'HTTP://n', clientCertificate: cert, clientKey: key }, /^--client-certificate needs an https/],
    [{ server: 'http://n', certificateAuthority: cert }, /^--certificate-authority needs an https/],
    [{ server: 'http://n', tlsServerName: 'x' }, /^--tls-server-name needs an https/],
    [{ server: 'http://n', insecureSkipTlsVerify: true }, /^--insecure-skip-tls-verify needs an https/],
    [{ port: 'x' }, /^--port: must be a port number from 1 to 65535, not "x"$/],
    [{ port: '65536' }, /^--port: must be a port number/],
    [{ address: 'node-1' }, /^--address: must be an IP address or localhost, not "node-1"$/],
    [{ port: '0' }, /^port 0 .* --server$/],
    [{ context: '' }, /^--context: must not be empty$/],
    [{ namespace: '' }, /^--namespace: must not be empty$/],
    [{ certDir: file('no-directory', ''), tlsServerName: '' }, /^--tls-server-name: must not be empty$/],
  ];
  for (const [flags, message] of wrong) {
    assert.throws(
      () => make(flags),
      (error: unknown) => {
        assert.ok(error instanceof Error && error.name === 'ClientError', String(error));
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /\n|t0psecret|PRIVATE/);
        assert.ok('exitCode' in error && error.exitCode === 2);
        return true;
      },
    );
  }
  const config = file('bad.yaml', 'prot: 1\n');
  assert.throws(() => make({ config }), {
    name: 'SettingsError',
    message: /bad\.yaml: prot: there is no such setting$/,
  });
  const { exitCode, stdout, stderr } = await execlet(['kubeconfig', '--token', 'a', '--token-file', good]);
  assert.deepEqual([exitCode, stdout], [2, '']);
  assert.equal(stderr, 'execlet: --token and --token-file exclude each other\n');
});

test('a certificate that may not be read is no reason to leave it out', () => {
  const certDir = join(directory, 'unreadable');
  mkdirSync(join(certDir, 'execlet.crt'), { recursive: true }); // EISDIR, which root is told too
  assert.throws(() => make({ certDir }), { message: /^EISDIR.*: run this as the user who runs the daemon, or give/ });
});

test('the command prints the kubeconfig alone, and kubectl reads it', async () => {
  const args = ['kubeconfig', '--cert-dir', directory, '--token', 'abc', '--context', 'here', '-n', 'web'];
  const { exitCode, stdout, stderr } = await execlet(args);
  assert.deepEqual([exitCode, stderr], [0, '']);
  assert.equal(stdout, makeKubeconfig({ certDir: directory, token: 'abc', context: 'here', namespace: 'web' }).text);
  const kubectl = await findExecutable('kubectl');
  if (kubectl === undefined) return; // the two other readers have read it
  const path = file('printed', stdout);
  const view = await mustRun(kubectl, ['--kubeconfig', path, 'config', 'view', '--raw', '--minify', '-o', 'json']);
  const { clusters, users, contexts } = JSON.parse(view) as Record<string, unknown>;
  assert.deepEqual(clusters, [{ name: 'here', cluster: { server: 'https://127.0.0.1:10350' } }]);
  assert.deepEqual(users, [{ name: 'here', user: { token: 'abc' } }]);
  assert.deepEqual(contexts, [{ name: 'here', context: { cluster: 'here', user: 'here', namespace: 'web' } }]);
});
