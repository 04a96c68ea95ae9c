import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { setDefaultCACertificates, TLSSocket, type ConnectionOptions, type PeerCertificate } from 'node:tls';
import { inspect } from 'node:util';
import { TlsCredentials, type TlsCredentialsOptions } from '../../../src/server/tls.ts';
import { Authority, type Issued } from '../../support/authority.ts';
import { temporaryDirectory } from '../../support/cleanup.ts';
import { handshake, listening } from '../../support/handshake.ts';

const authority = await Authority.create('serving');
const HOUR_MS = 60 * 60 * 1000;
const limited = { timeout: 20_000 };

async function serverPair(commonName: string, validity: { notBefore?: Date; notAfter?: Date } = {}): Promise<Issued> {
  return authority.issue({ commonName, usages: ['server'], sans: ['127.0.0.1'], ...validity });
}

/** Credentials of two files, and what was reported of them. */
async function credentials(context: TestContext, options: Partial<TlsCredentialsOptions> = {}, pair?: Issued) {
  const { path, remove } = await temporaryDirectory('tls');
  context.after(remove);
  const certFile = join(path, 'tls.crt');
  const keyFile = join(path, 'tls.key');
  const replace = async (file: string, content: string): Promise<void> => {
    await writeFile(`${file}.new`, content);
    await rename(`${file}.new`, file);
  };
  const { cert, key } = pair ?? (await serverPair('one'));
  await replace(certFile, cert);
  await replace(keyFile, key);
  const reports: string[] = [];
  const tls = await TlsCredentials.open({
    source: { certFile, keyFile },
    minVersion: 'TLSv1.2',
    clientAuthorities: [],
    onReload: (result, error) => void reports.push(error === undefined ? result : `${result}: ${error.message}`),
    ...options,
  });
  context.after(() => tls.close());
  return { tls, path, certFile, keyFile, replace, reports };
}

/** A server that says how it sees its client, and echoes after an upgrade. */
async function serve(context: TestContext, tls: TlsCredentials): Promise<number> {
  const server = tls.createServer({ keepAliveTimeout: 60_000 }, ({ socket }, response) => {
    assert.ok(socket instanceof TLSSocket);
    const certificate: Partial<PeerCertificate> = socket.getPeerCertificate(); // an empty object where there is none
    response.end(`${String(certificate.subject?.CN)} ${String(socket.authorized)}`);
  });
  server.on('upgrade', (_request, socket) => {
    socket.on('error', () => undefined);
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
    socket.pipe(socket);
  });
  server.on('tlsClientError', () => undefined);
  const port = await listening(server);
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return port;
}

/** The common name of the certificate that a new connection is shown. */
async function shown(port: number, options: ConnectionOptions = {}): Promise<unknown> {
  const socket = await handshake(port, { ca: authority.certificate, ...options });
  const { CN } = socket.getPeerCertificate().subject;
  socket.destroy();
  return CN;
}

/** What the server says of the client: its name, and whether an authority vouches for it. */
async function seenAs(port: number, options: ConnectionOptions): Promise<string> {
  const socket = await handshake(port, options);
  socket.end('GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n');
  let answer = '';
  for await (const chunk of socket.setEncoding('utf8')) answer += String(chunk);
  return answer.split('\r\n\r\n')[1]?.split('\r\n')[1] ?? answer.split('\r\n\r\n')[1] ?? '';
}

async function assertNotResumed(port: number, version: 'TLSv1.2' | 'TLSv1.3'): Promise<void> {
  const only = { minVersion: version, maxVersion: version };
  const first = await handshake(port, only);
  const session = version === 'TLSv1.2' ? first.getSession() : ((await once(first, 'session')) as [Buffer])[0];
  assert.ok(session !== undefined && session.length > 0);
  if (version === 'TLSv1.2') assert.equal(first.getTLSTicket(), undefined);
  const second = await handshake(port, { ...only, session });
  assert.equal(second.isSessionReused(), false);
  second.destroy();
  first.destroy();
}

async function echoed(socket: TLSSocket, text: string): Promise<string> {
  socket.write(text);
  const [chunk] = (await once(socket, 'data')) as [Buffer];
  return chunk.toString();
}

test('new connections see a new certificate, and the open ones go on', limited, async context => {
  const { tls, certFile, keyFile, replace, reports } = await credentials(context);
  const port = await serve(context, tls);
  const open = await handshake(port, { ca: authority.certificate });
  open.write('GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
  await once(open, 'data');
  assert.equal(await echoed(open, 'before'), 'before');
  const { fingerprint256 } = tls.certificate;

  const { cert, key } = await serverPair('two');
  await replace(certFile, cert);
  await tls.reloadNow();
  assert.deepEqual(reports, [
    `failure: serving certificate ${certFile} and ${keyFile}: ` +
      'the key is not that of the certificate, which has to be the first of its file',
  ]);
  assert.equal(await shown(port), 'one');

  await replace(keyFile, key);
  await tls.reloadNow();
  assert.equal(reports[1], 'success');
  assert.equal(await shown(port), 'two');
  assert.equal(tls.certificate.subject, 'CN=two');
  assert.notEqual(tls.certificate.fingerprint256, fingerprint256);
  assert.equal(await echoed(open, 'after'), 'after');
  open.destroy();
});

test('a new certificate gets into use by itself', limited, async context => {
  context.mock.timers.enable({ apis: ['setInterval'] });
  const { tls, certFile, keyFile, replace, reports } = await credentials(context);
  const port = await serve(context, tls);
  const { cert, key } = await serverPair('two');
  await replace(certFile, cert);
  await replace(keyFile, key);
  while (reports.length === 0) {
    context.mock.timers.tick(5_000);
    await setImmediate();
  }
  assert.deepEqual(reports, ['success']);
  assert.equal(await shown(port), 'two');
});

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`no session is resumed, before and after a reload: ${version}`, async context => {
    const { tls } = await credentials(context);
    const port = await serve(context, tls);
    await assertNotResumed(port, version);
    await tls.reloadNow();
    await assertNotResumed(port, version);
  });
}

test('speaks HTTP/1.1 and nothing else', async context => {
  const { tls } = await credentials(context);
  const port = await serve(context, tls);
  const socket = await handshake(port, { ALPNProtocols: ['h2', 'http/1.1'] });
  assert.equal(socket.alpnProtocol, 'http/1.1');
  socket.destroy();
  await assert.rejects(handshake(port, { ALPNProtocols: ['h2'] }), /no application protocol/);
});

test('keeps to the oldest version and the suites that were chosen, after a reload too', async context => {
  const chosen = await credentials(context, { minVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256' });
  const port = await serve(context, chosen.tls);
  const isKept = async (): Promise<void> => {
    await assert.rejects(handshake(port, { maxVersion: 'TLSv1.2' }), /protocol version/);
    const socket = await handshake(port);
    assert.equal(socket.getCipher().standardName, 'TLS_AES_128_GCM_SHA256');
    socket.destroy();
  };
  await isKept();
  await chosen.tls.reloadNow();
  await isKept();

  const byDefault = await credentials(context);
  const socket = await handshake(await serve(context, byDefault.tls), { maxVersion: 'TLSv1.2' });
  assert.equal(socket.getProtocol(), 'TLSv1.2');
  socket.destroy();
});

test('asks for a client certificate where somebody may vouch for one, and lets everybody in', async context => {
  const clients = await Authority.create('clients');
  const known = await clients.issue({ commonName: 'alice', usages: ['client'] });
  const stranger = await (await Authority.create('clients')).issue({ commonName: 'mallory', usages: ['client'] });
  const { tls } = await credentials(context, { clientAuthorities: [clients.certificate] });
  const port = await serve(context, tls);
  assert.equal(await seenAs(port, known), 'alice true');
  assert.equal(await seenAs(port, stranger), 'mallory false');
  assert.equal(await seenAs(port, {}), 'undefined false');
  await tls.reloadNow();
  assert.equal(await seenAs(port, known), 'alice true');

  const unasked = await credentials(context);
  assert.equal(await seenAs(await serve(context, unasked.tls), known), 'undefined false');
});

test('new connections are judged by new client authorities, and by none that we were not given', async context => {
  const [before, after] = [await Authority.create('before'), await Authority.create('after')];
  const [alice, bob] = [await before.issue({ commonName: 'alice' }), await after.issue({ commonName: 'bob' })];
  const { tls } = await credentials(context, { clientAuthorities: [before.certificate] });
  const port = await serve(context, tls);
  assert.equal(await seenAs(port, bob), 'bob false');
  tls.setClientAuthorities([before.certificate + after.certificate]);
  assert.deepEqual([await seenAs(port, alice), await seenAs(port, bob)], ['alice true', 'bob true']);
  tls.setClientAuthorities([after.certificate]);
  assert.deepEqual([await seenAs(port, alice), await seenAs(port, bob)], ['alice false', 'bob true']);
  setDefaultCACertificates([after.certificate]); // as if it were a public authority
  tls.setClientAuthorities([]);
  assert.equal(await seenAs(port, bob), 'bob false');
});

test('says what is wrong with the files, and nothing of what they hold', async context => {
  const one = await serverPair('one');
  const secret = one.key.split('\n')[1] ?? '';
  const wrong = async (pair: Issued): Promise<string> => {
    const error: unknown = await credentials(context, {}, pair).catch((cause: unknown) => cause);
    assert.doesNotMatch(
      inspect(error, { depth: Infinity, showHidden: true }),
      new RegExp(secret.replaceAll('+', '\\+')),
    );
    return error instanceof Error ? error.message.replaceAll(/\/\S+\//g, '') : assert.fail('they were taken');
  };
  const files = 'serving certificate tls.crt and tls.key: ';
  assert.match(
    await wrong({ cert: one.key, key: one.cert }),
    RegExp(`^${files}the first file holds no certificate \\(.*\\)$`),
  );
  assert.match(
    await wrong({ cert: one.cert, key: '' }),
    RegExp(`^${files}the second file holds no private key \\(.*\\)$`),
  );
  const { key } = await serverPair('two');
  assert.match(await wrong({ cert: one.cert, key }), RegExp(`^${files}the key is not that of the certificate`));
  assert.match(
    await wrong({ cert: `${one.cert}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`, key: one.key }),
    RegExp(`^${files}`),
  );
});

test('knows when the certificate is not valid', async context => {
  const from = new Date('2026-01-01T00:00:00Z');
  const to = new Date('2026-02-01T00:00:00Z');
  const { tls } = await credentials(context, {}, await serverPair('one', { notBefore: from, notAfter: to }));
  assert.deepEqual([tls.certificate.validFrom, tls.certificate.expiresAt], [from, to]);
  assert.equal(tls.selfSigned, false);
  assert.equal(tls.validityProblem(new Date('2026-01-15T00:00:00Z')), undefined);
  assert.match(
    tls.validityProblem(new Date('2025-12-31T00:00:00Z')) ?? '',
    /is not valid before 2026-01-01T00:00:00.000Z$/,
  );
  assert.match(tls.validityProblem(new Date('2026-02-01T00:00:01Z')) ?? '', /expired at 2026-02-01T00:00:00.000Z$/);
});

test('makes its own certificate and renews it in the last 30 days, while it serves', limited, async context => {
  const start = Date.now();
  context.mock.timers.enable({ apis: ['setInterval', 'Date'], now: start });
  const { path, remove } = await temporaryDirectory('tls');
  context.after(remove);
  const certDir = join(path, 'pki');
  const reports: string[] = [];
  const tls = await TlsCredentials.open({
    source: { certDir, nodeName: 'node-1', address: '127.0.0.1' },
    minVersion: 'TLSv1.2',
    clientAuthorities: [],
    onReload: (result, error) => void reports.push(error === undefined ? result : `${result}: ${error.message}`),
  });
  context.after(() => tls.close());
  assert.equal(tls.selfSigned, true);
  const port = await serve(context, tls);
  const { fingerprint256, subject } = tls.certificate;
  const certFile = join(certDir, 'execlet.crt');
  const made = await readFile(certFile);
  assert.equal(await shown(port, { ca: made }), subject.slice('CN='.length));

  context.mock.timers.setTime(start + 336 * 24 * HOUR_MS);
  context.mock.timers.tick(HOUR_MS);
  while (made.equals(await readFile(certFile))) await setImmediate();
  context.mock.timers.tick(5_000);
  while (reports.length === 0) await setImmediate();
  assert.deepEqual(reports, ['success']);
  assert.notEqual(tls.certificate.fingerprint256, fingerprint256);
  assert.equal(tls.validityProblem(new Date(start + 400 * 24 * HOUR_MS)), undefined);
  assert.notEqual(await shown(port, { ca: [], rejectUnauthorized: false }), subject.slice('CN='.length));
});
