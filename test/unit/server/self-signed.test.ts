import assert from 'node:assert/strict';
import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { createServer } from 'node:tls';
import { selfSignedCertificate, type SelfSignedOptions } from '../../../src/server/self-signed.ts';
import { Authority } from '../../support/authority.ts';
import { temporaryDirectory } from '../../support/cleanup.ts';
import { handshake, listening } from '../../support/handshake.ts';

const NOW = new Date('2026-11-26T12:00:00Z');
const DAY_MS = 24 * 60 * 60 * 1000;

function after(days: number): Date {
  return new Date(NOW.getTime() + days * DAY_MS);
}

/** A directory that does not exist yet, and what the daemon would do with it. */
async function pki(context: TestContext) {
  const { path, remove } = await temporaryDirectory('pki');
  context.after(remove);
  const certDir = join(path, 'execlet', 'pki');
  const make = async (options: Partial<SelfSignedOptions> = {}, now = NOW) =>
    selfSignedCertificate({ certDir, nodeName: 'node-1', addresses: ['192.0.2.7'], ...options }, now);
  return {
    path,
    certDir,
    certFile: join(certDir, 'execlet.crt'),
    keyFile: join(certDir, 'execlet.key'),
    make,
    /** The pair that is there then; it fits together. */
    pair: async (options: Partial<SelfSignedOptions> = {}, now = NOW) => {
      const { certFile, keyFile } = await make(options, now);
      const certificate = new X509Certificate(await readFile(certFile));
      const key = await readFile(keyFile, 'utf8');
      assert.ok(certificate.checkPrivateKey(createPrivateKey(key)));
      return { certificate, key, fingerprint: certificate.fingerprint256 };
    },
  };
}

test('makes a pair for a year, the node, localhost and the addresses, that only the daemon can read', async context => {
  const { certDir, certFile, keyFile, make, pair } = await pki(context);
  assert.deepEqual(await make(), { certFile, keyFile });
  const { certificate } = await pair();
  assert.equal(
    certificate.subjectAltName,
    'DNS:localhost, DNS:node-1, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, IP Address:192.0.2.7',
  );
  assert.deepEqual(certificate.validToDate, after(365));
  assert.ok(certificate.validFromDate < NOW);
  assert.equal(certificate.ca, false);
  assert.deepEqual(certificate.publicKey.asymmetricKeyDetails, { namedCurve: 'prime256v1' });
  assert.match(certificate.subject, /^CN=node-1@\d+$/);
  assert.ok(certificate.verify(certificate.publicKey));
  assert.equal((await stat(certDir)).mode & 0o777, 0o700);
  assert.equal((await stat(keyFile)).mode & 0o777, 0o600);
  assert.deepEqual(await readdir(certDir), ['execlet.crt', 'execlet.key']);
});

test('a client that trusts the certificate connects by each name, and by no other', async context => {
  const { certFile, keyFile, make } = await pki(context);
  await make({}, new Date());
  const ca = await readFile(certFile);
  const server = createServer({ cert: ca, key: await readFile(keyFile) });
  server.on('secureConnection', socket => socket.on('error', () => undefined));
  const port = await listening(server);
  context.after(() => server.close());
  for (const servername of ['localhost', 'node-1']) (await handshake(port, { ca, servername })).destroy();
  (await handshake(port, { ca })).destroy(); // 127.0.0.1
  await assert.rejects(handshake(port, { ca, servername: 'node-2' }), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
});

test('keeps a pair that can still be used', async context => {
  const { pair } = await pki(context);
  const { fingerprint } = await pair();
  assert.equal((await pair()).fingerprint, fingerprint);
  assert.equal((await pair({}, after(335))).fingerprint, fingerprint);
  assert.equal((await pair({ addresses: [] })).fingerprint, fingerprint);
});

test('makes a new certificate for the same key when less than 30 days are left, or it is not yet valid', async context => {
  const { pair } = await pki(context);
  const first = await pair();
  const renewed = await pair({}, after(335.1));
  assert.notEqual(renewed.fingerprint, first.fingerprint);
  assert.equal(renewed.key, first.key);
  assert.deepEqual(renewed.certificate.validToDate, after(335.1 + 365));
  assert.notEqual((await pair()).fingerprint, renewed.fingerprint);
});

test('makes a new certificate for a new address or node name', async context => {
  const { pair } = await pki(context);
  const { fingerprint } = await pair();
  const moved = await pair({ addresses: ['192.0.2.8'] });
  assert.notEqual(moved.fingerprint, fingerprint);
  assert.ok(moved.certificate.checkIP('192.0.2.8'));
  const renamed = await pair({ nodeName: 'node-2', addresses: ['192.0.2.8'] });
  assert.notEqual(renamed.fingerprint, moved.fingerprint);
  assert.ok(renamed.certificate.checkHost('node-2'));
});

test('a wildcard address stands for those of the host, and is content with what was there', async context => {
  const { pair } = await pki(context);
  const { certificate, fingerprint } = await pair({ addresses: ['0.0.0.0'] });
  const own = Object.values(networkInterfaces()).flatMap(listed => listed ?? []);
  const reachable = own.filter(({ internal, scopeid }) => !internal && (scopeid ?? 0) === 0);
  for (const { address } of reachable.slice(0, 10)) assert.ok(certificate.checkIP(address), address);
  assert.equal(certificate.checkIP('0.0.0.0'), undefined);
  assert.equal((await pair({ addresses: ['::'] })).fingerprint, fingerprint);

  const specific = await pair({ addresses: ['192.0.2.7'] });
  assert.equal((await pair({ addresses: ['::'] })).fingerprint, specific.fingerprint);
});

test('IPv6 addresses lose their zone; a node name that no host can have stays out of the names', async context => {
  const { pair } = await pki(context);
  const { certificate } = await pair({
    nodeName: 'knoten,CN=ä+"1"',
    addresses: ['fe80::1%eth0', '2001:db8::7', 'localhost'],
  });
  assert.equal(
    certificate.subjectAltName,
    'DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, IP Address:FE80:0:0:0:0:0:0:1, ' +
      'IP Address:2001:DB8:0:0:0:0:0:7',
  );
  assert.match(certificate.subject, /^CN=knoten-CN----1-@\d+$/);
  const ofAddress = await pair({ nodeName: '192.0.2.9' });
  assert.ok(ofAddress.certificate.checkIP('192.0.2.9'));
});

test('what is cut off, empty, something else or no pair is made anew', async context => {
  const { certFile, keyFile, pair } = await pki(context);
  let { fingerprint } = await pair();
  const isNew = async (): Promise<void> => {
    const made = await pair();
    assert.notEqual(made.fingerprint, fingerprint);
    fingerprint = made.fingerprint;
  };
  await truncate(certFile, 100);
  await isNew();
  await truncate(keyFile, 100);
  await isNew();
  assert.equal((await stat(keyFile)).mode & 0o777, 0o600);
  await writeFile(keyFile, '');
  await isNew();
  await rm(keyFile);
  await isNew();
  await rm(certFile);
  await isNew();
  const other = await (await Authority.create('other')).issue({ commonName: 'other' });
  await writeFile(keyFile, other.key);
  await isNew();
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' }); // of another kind than ours
  await writeFile(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  await isNew();
});

test('daemons that start at about the same time end up with one pair, and each finds it whole', async context => {
  for (let round = 0; round < 10; round++) {
    const { certDir, pair } = await pki(context);
    const started = Array.from({ length: 6 }, async (_, late) => {
      for (let turn = 0; turn < late * round * 3; turn++) await setImmediate();
      return pair();
    });
    const keys = (await Promise.all(started)).map(({ key }) => key);
    assert.equal(new Set(keys).size, 1);
    assert.deepEqual(await readdir(certDir), ['execlet.crt', 'execlet.key']);
  }
});

test('says in one line which directory cannot be used, and which flags help', async context => {
  const { path, certFile, make } = await pki(context);
  await writeFile(join(path, 'file'), '');
  const help =
    ': name another directory with --cert-dir, or a certificate with --tls-cert-file and --tls-private-key-file';
  const message = async (certDir: string): Promise<string> => {
    const error: unknown = await make({ certDir }).catch((cause: unknown) => cause);
    return error instanceof Error ? error.message : assert.fail('it was made');
  };
  const underFile = join(path, 'file', 'pki');
  assert.equal(
    await message(underFile),
    `cannot keep a self-signed certificate in ${underFile} (ENOTDIR: not a directory, open '${join(underFile, 'execlet.key')}')${help}`,
  );
  assert.match(
    await message('/proc/execlet'),
    /^cannot keep a self-signed certificate in \/proc\/execlet \(ENOENT: .*--cert-dir/,
  );
  await mkdir(certFile, { recursive: true });
  assert.match(await message(join(path, 'execlet', 'pki')), /execlet\.crt is not a file\)/);
});
