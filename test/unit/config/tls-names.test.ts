import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { createSecureContext, createServer, getCiphers, type ConnectionOptions } from 'node:tls';
import { generate } from 'selfsigned';
import {
  parseCipherSuites,
  parseTlsVersion,
  TLS_CIPHER_SUITES,
  TLS_VERSIONS,
  type TlsVersion,
} from '../../../src/config/tls-names.ts';
import { makeServerCertificate } from '../../support/certificates.ts';
import { handshake, listening } from '../../support/handshake.ts';

/** The OpenSSL names that were made of IANA names. */
function ciphersOf(...names: string[]): string {
  const parsed = parseCipherSuites(names);
  return 'problem' in parsed ? assert.fail(parsed.problem) : (parsed.ciphers ?? '');
}

function problemOf(...names: string[]): string | undefined {
  const parsed = parseCipherSuites(names);
  return 'problem' in parsed ? parsed.problem : undefined;
}

/** Asks a server with these suites for its choice. */
async function server(
  context: TestContext,
  names: readonly string[],
  { minVersion = 'TLSv1.2', key }: { minVersion?: TlsVersion; key?: { cert: string; key: string } } = {},
) {
  const pair = key ?? (await makeServerCertificate());
  const listener = createServer({ ...pair, minVersion, ciphers: ciphersOf(...names) });
  listener.on('secureConnection', socket => socket.on('error', () => undefined));
  const port = await listening(listener);
  context.after(() => listener.close());
  return async (options: ConnectionOptions): Promise<string> => {
    const socket = await handshake(port, options);
    const spoken = `${socket.getProtocol()} ${socket.getCipher().standardName}`;
    socket.destroy();
    return spoken;
  };
}

async function makeRsaCertificate(): Promise<{ cert: string; key: string }> {
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'localhost' }], { algorithm: 'sha256' });
  return { cert, key };
}

const tls12 = { maxVersion: 'TLSv1.2' } as const;
const tls13 = { minVersion: 'TLSv1.3' } as const;

test('every suite that can be named is one that OpenSSL knows, by the name that it stands for', () => {
  for (const name of TLS_CIPHER_SUITES) {
    const ciphers = ciphersOf(name);
    createSecureContext({ ciphers });
    for (const cipher of ciphers.split(':')) assert.ok(getCiphers().includes(cipher.toLowerCase()), cipher);
  }
  assert.equal(TLS_CIPHER_SUITES.length, 15);
});

test('a suite of TLS 1.2 is the one that is spoken, and TLS 1.3 stays as it was', async context => {
  const keys = { ECDSA: await makeServerCertificate(), RSA: await makeRsaCertificate() };
  const suites = TLS_CIPHER_SUITES.filter(name => name.startsWith('TLS_ECDHE_') && !name.endsWith('POLY1305'));
  assert.equal(suites.length, 10);
  for (const name of suites) {
    const spoken = await server(context, [name], { key: keys[name.includes('_RSA_') ? 'RSA' : 'ECDSA'] });
    assert.equal(await spoken(tls12), `TLSv1.2 ${name}`);
    assert.equal(await spoken(tls13), 'TLSv1.3 TLS_AES_256_GCM_SHA384');
    assert.equal(await spoken({ ...tls13, ciphers: 'TLS_AES_128_GCM_SHA256' }), 'TLSv1.3 TLS_AES_128_GCM_SHA256');
  }
});

test("the kubelet's older names are those of the same suites", () => {
  for (const name of ['TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305', 'TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305']) {
    assert.equal(ciphersOf(name), ciphersOf(`${name}_SHA256`));
  }
});

test('the order is that of preference', async context => {
  const suites = ['TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256', 'TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384'];
  assert.equal(await (await server(context, suites))(tls12), `TLSv1.2 ${suites[0]}`);
  assert.equal(await (await server(context, suites.toReversed()))(tls12), `TLSv1.2 ${suites[1]}`);
});

test('with TLS 1.3 as the oldest version, suites of TLS 1.2 change nothing', async context => {
  const spoken = await server(context, ['TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256'], { minVersion: 'TLSv1.3' });
  assert.equal(await spoken({}), 'TLSv1.3 TLS_AES_256_GCM_SHA384');
  await assert.rejects(spoken(tls12), /alert protocol version/);
});

test('suites of TLS 1.3 that are named are the only ones of it; without any of TLS 1.2 that is not spoken', async context => {
  const spoken = await server(context, ['TLS_AES_128_GCM_SHA256']);
  assert.equal(await spoken({}), 'TLSv1.3 TLS_AES_128_GCM_SHA256');
  await assert.rejects(spoken({ ciphers: 'TLS_AES_256_GCM_SHA384' }), /handshake failure/);
  await assert.rejects(spoken(tls12), /alert protocol version/);
});

test('no names are no choice', () => assert.deepEqual(parseCipherSuites([]), {}));

test('says which suite cannot be used', () => {
  const good = 'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256';
  for (const insecure of [
    'TLS_RSA_WITH_RC4_128_SHA',
    'TLS_RSA_WITH_3DES_EDE_CBC_SHA',
    'TLS_RSA_WITH_AES_128_CBC_SHA',
    'TLS_RSA_WITH_AES_256_GCM_SHA384',
    'TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA',
    'TLS_ECDHE_ECDSA_WITH_RC4_128_SHA',
    'TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256',
  ]) {
    assert.equal(problemOf(good, insecure), `${insecure} is insecure`);
  }
  for (const unknown of ['', 'ECDHE-RSA-AES128-GCM-SHA256', good.toLowerCase(), 'HIGH', `${good}:ALL`, '@SECLEVEL=0']) {
    assert.equal(problemOf(good, unknown), `${JSON.stringify(unknown)} is no cipher suite that execlet knows`);
  }
});

test('versions are those of Kubernetes that are not broken', () => {
  assert.deepEqual(TLS_VERSIONS.map(parseTlsVersion), ['TLSv1.2', 'TLSv1.3']);
  for (const name of ['VersionTLS10', 'VersionTLS11', 'TLSv1.2', '1.2', '']) {
    assert.equal(parseTlsVersion(name), undefined);
  }
});
