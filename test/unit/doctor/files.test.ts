import assert from 'node:assert/strict';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { loadSettings } from '../../../src/config/load.ts';
import type { Settings } from '../../../src/config/schema.ts';
import { checkAccessFiles } from '../../../src/doctor/access-files-check.ts';
import type { Finding } from '../../../src/doctor/check.ts';
import { checkSessionLog } from '../../../src/doctor/session-log-check.ts';
import { checkTls } from '../../../src/doctor/tls-check.ts';
import { filesOfCertDir } from '../../../src/files/cert-dir.ts';
import { selfSignedCertificate } from '../../../src/server/self-signed.ts';
import { Authority, type IssueOptions } from '../../support/authority.ts';
import { temporaryDirectory } from '../../support/cleanup.ts';

const DAY_MS = 24 * 60 * 60 * 1_000;
const NOW = new Date();
const inDays = (days: number): Date => new Date(NOW.getTime() + days * DAY_MS);
const NODE = ['--node-name', 'node-1'] as const;

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let authority: Authority;
before(async () => {
  directory = await temporaryDirectory('doctor');
  authority = await Authority.create('users');
});
after(() => directory.remove());

const path = (name: string): string => join(directory.path, name);
const linesOf = (findings: readonly Finding[]): string[] => findings.map(({ result, text }) => `${result}: ${text}`);

/** `address` and what a flag says, without reading what loadSettings would refuse. */
function settingsOf(flags: Readonly<Record<string, string>> = {}): Settings {
  return loadSettings({ flags: { nodeName: NODE[1], ...flags }, env: {}, readFile: () => '' });
}

async function pairOf(
  options: Partial<IssueOptions>,
  name: string,
): Promise<{ tlsCertFile: string; tlsPrivateKeyFile: string }> {
  const { cert, key } = await authority.issue({
    commonName: 'node',
    sans: ['127.0.0.1', 'node-1'],
    notAfter: inDays(365),
    ...options,
  });
  const files = { tlsCertFile: path(`${name}.crt`), tlsPrivateKeyFile: path(`${name}.key`) };
  await writeFile(files.tlsCertFile, cert);
  await writeFile(files.tlsPrivateKeyFile, key, { mode: 0o600 });
  return files;
}

async function tlsLines(files: { tlsCertFile: string; tlsPrivateKeyFile: string }, now = NOW): Promise<string[]> {
  return linesOf(await checkTls({ ...settingsOf(), ...files }, now));
}

test('a good certificate is said to be one, with its names and its end', async () => {
  const files = await pairOf({}, 'good');
  const [valid, names, ...rest] = await tlsLines(files);
  assert.match(valid ?? '', /^ok: the certificate \S+good\.crt fits its key, and is valid until 20\d\d-/);
  assert.match(names ?? '', /^ok: the certificate \S+good\.crt is for 127\.0\.0\.1, node-1$/);
  assert.deepEqual(rest, []);
});

test('a certificate that has expired, is about to, or is not valid yet', async () => {
  const first = async (options: Partial<IssueOptions>, name: string): Promise<string> =>
    (await tlsLines(await pairOf(options, name)))[0] ?? '';
  assert.match(
    await first({ notBefore: inDays(-9), notAfter: inDays(-1) }, 'old'),
    /^problem: .*old\.crt expired at 20\S+: renew it/,
  );
  assert.match(await first({ notAfter: inDays(20) }, 'soon'), /^note: .*soon\.crt expires in (19|20) days, /);
  assert.match(await first({ notAfter: inDays(0.5) }, 'today'), /^note: .*expires within a day, /);
  assert.match(
    await first({ notBefore: inDays(1), notAfter: inDays(90) }, 'early'),
    /^problem: .*is not valid before .*see this host's clock/,
  );
});

test('a certificate that lacks the address or the node, or has no names at all', async () => {
  const [, lacking] = await tlsLines(await pairOf({ sans: ['api.example'] }, 'lacking'));
  assert.match(
    lacking ?? '',
    /^note: .* is for api\.example, and not for 127\.0\.0\.1 or node-1: clients that ask by these names refuse/,
  );
  const [, nameless] = await tlsLines(await pairOf({ sans: [] }, 'nameless'));
  assert.match(nameless ?? '', /^problem: .* has no subject alternative name/);
});

test('the key of another certificate, a missing file, and a key that everybody may read', async () => {
  const [one, other] = [await pairOf({}, 'one'), await pairOf({}, 'other')];
  const [mixed] = await tlsLines({ ...one, tlsPrivateKeyFile: other.tlsPrivateKeyFile });
  assert.match(mixed ?? '', /^problem: serving certificate .*the key is not that of the certificate/);
  const [missing] = await tlsLines({ ...one, tlsCertFile: path('nowhere') });
  assert.match(missing ?? '', /^problem: .*ENOENT.*nowhere/);
  await chmod(one.tlsPrivateKeyFile, 0o644);
  const [, , open] = await tlsLines(one);
  assert.match(open ?? '', /^problem: the private key \S+one\.key may be read by every user \(mode 0644\): chmod o= /);
});

test('a self-signed certificate: one that is there, one that will be made, and nowhere to keep it', async () => {
  const look = async (certDir: string): Promise<string[]> => linesOf(await checkTls(settingsOf({ certDir }), NOW));
  const certDir = path('pki');
  assert.match((await look(certDir))[0] ?? '', /^note: serve will make a self-signed certificate in \S+pki: /);
  await selfSignedCertificate({ certDir, nodeName: 'node-1', addresses: ['127.0.0.1'] });
  const [valid, names, trust] = await look(certDir);
  assert.match(
    `${valid ?? ''}\n${names ?? ''}`,
    /^ok: .*fits its key.*\nok: the self-signed .* is for localhost, node-1, /,
  );
  assert.match(trust ?? '', /^note: \S+execlet\.crt is self-signed: clients must be given it/);
  const [later] = linesOf(await checkTls(settingsOf({ certDir }), inDays(400)));
  assert.match(later ?? '', /^problem: .* expired at .*: serve makes a new one when it starts/);
  await writeFile(filesOfCertDir(certDir).keyFile, 'half a key');
  assert.match((await look(certDir))[0] ?? '', /^problem: .*no private key.*remove one that it has made/);
  await writeFile(path('in-the-way'), '');
  assert.match(
    (await look(path('in-the-way')))[0] ?? '',
    /^problem: no certificate can be kept in .*is not a directory.*--cert-dir/,
  );
  assert.match((await look(path('a/b/c')))[0] ?? '', /^problem: no certificate can be kept in .*ENOENT/);
});

test('plain HTTP needs no certificate', async () => {
  assert.deepEqual(await checkTls(settingsOf(), NOW), []);
});

test('CAs, tokens and rules: how many each file holds, and who may read it', async () => {
  await writeFile(path('ca.pem'), authority.certificate);
  await writeFile(path('tokens'), 'secret-1,alice,1\nsecret-2,bob,2\n', { mode: 0o644 });
  await writeFile(path('rules'), 'rules: [{ users: [alice], namespaces: [a], verbs: [exec, metrics] }]');
  await writeFile(path('kubeconfig'), '', { mode: 0o600 });
  const files = {
    clientCaFile: path('ca.pem'),
    requestheaderClientCaFile: undefined,
    tokenAuthFile: path('tokens'),
    authorizationRulesFile: path('rules'),
    kubeconfig: path('kubeconfig'),
  };
  const [ca, soon, tokens, open, rules, useless, ...rest] = linesOf(await checkAccessFiles(files, NOW));
  assert.match(ca ?? '', /^ok: \S+ca\.pem holds 1 CA of users$/);
  assert.match(soon ?? '', /^note: the CA CN=users in \S+ca\.pem expires within a day/); // for a day, as the tests' are
  assert.match(tokens ?? '', /^ok: \S+tokens holds 2 tokens$/);
  assert.match(open ?? '', /^problem: the token file \S+tokens may be read by every user/);
  assert.match(rules ?? '', /^ok: \S+rules holds 1 rule$/);
  assert.match(useless ?? '', /^problem: \S+rules: rules\[0\]\.verbs: metrics is never allowed/);
  assert.deepEqual(rest, []);
  await chmod(path('kubeconfig'), 0o644);
  assert.match(linesOf(await checkAccessFiles(files, NOW)).at(-1) ?? '', /^problem: the kubeconfig \S+ may be read by/);
});

test('files that hold nothing, or nothing of use, and no secret is repeated', async () => {
  const expired = await Authority.create('gone', { notBefore: inDays(-9), notAfter: inDays(-1) });
  await writeFile(path('expired.pem'), expired.certificate);
  await writeFile(path('empty'), '', { mode: 0o600 });
  await writeFile(path('broken'), 'the-secret,"alice', { mode: 0o600 });
  const look = async (files: Partial<Settings>): Promise<string> =>
    linesOf(await checkAccessFiles({ ...settingsOf(), ...files }, NOW)).join('\n');
  assert.match(
    await look({ requestheaderClientCaFile: path('expired.pem') }),
    /1 CA of front proxies\nproblem: the CA CN=gone in .* expired at/,
  );
  assert.match(
    await look({ clientCaFile: path('empty') }),
    /^problem: \S+empty holds no certificate in PEM: see the file/,
  );
  assert.match(await look({ tokenAuthFile: path('empty') }), /^note: \S+ holds 0 tokens: nobody gets in/);
  assert.match(await look({ tokenAuthFile: path('nowhere') }), /^problem: ENOENT.*nowhere/);
  const broken = await look({ tokenAuthFile: path('broken') });
  assert.match(broken, /^problem: \S+broken line 1: a quote is not closed/);
  assert.doesNotMatch(broken, /the-secret/);
});

test('the session log: a file, one that would be made, stdout, and what keeps it from being written', async () => {
  const look = async (target: string): Promise<string> => linesOf(await checkSessionLog(target)).join('\n');
  await writeFile(path('log'), '');
  assert.match(await look(path('log')), /^ok: the session log \S+log can be written$/);
  assert.match(await look(path('new-log')), /^ok: /);
  assert.equal(await look('-'), 'ok: the session log goes to stdout');
  assert.match(await look(path('no-directory/log')), /^problem: the session log .*ENOENT.*make its directory/);
  await mkdir(path('is-directory'));
  assert.match(await look(path('is-directory')), /^problem: .*it is a directory/);
  assert.deepEqual(await checkSessionLog(undefined), []);
  await assert.rejects(chmod(path('new-log'), 0o600), { code: 'ENOENT' }); // it only looked
});
