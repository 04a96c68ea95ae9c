import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import {
  CertificateBundle,
  commonNameOf,
  organizationsOf,
  type CertificateChain,
} from '../../../src/access/certificate-bundle.ts';
import { Authority, type Issued } from '../../support/authority.ts';

const HOUR_MS = 60 * 60 * 1000;
const users = await Authority.create('users');
const proxies = await Authority.create('proxies');
const bundle = new CertificateBundle(users.certificate);

function chainOf(issued: Issued, ...sent: string[]): CertificateChain {
  return [new X509Certificate(issued.cert), ...sent.map(pem => new X509Certificate(pem))];
}

test('a bundle vouches for what its authorities have issued, and for nothing else', async () => {
  const alice = await users.issue({ commonName: 'alice', usages: ['client'] });
  assert.equal(bundle.vouchesFor(chainOf(alice)), true);
  assert.equal(bundle.vouchesFor(chainOf(alice, users.certificate)), true);
  const stranger = await proxies.issue({ commonName: 'alice', usages: ['client'] });
  assert.equal(bundle.vouchesFor(chainOf(stranger)), false);
  assert.equal(bundle.vouchesFor(chainOf(stranger, proxies.certificate, users.certificate)), false);
  const namesake = await Authority.create('users');
  const forged = await namesake.issue({ commonName: 'alice', usages: ['client'] });
  assert.equal(bundle.vouchesFor(chainOf(forged, namesake.certificate)), false, 'the name alone makes no authority');
});

test('a file may hold several authorities', async () => {
  const both = new CertificateBundle(`# users\n${users.certificate}\n# proxies\n${proxies.certificate}`);
  for (const authority of [users, proxies]) {
    assert.equal(both.vouchesFor(chainOf(await authority.issue({ commonName: 'a' }))), true);
  }
});

test('intermediates lead to an authority when they come with the certificate, and may issue', async () => {
  const issued = await users.issue({ commonName: 'intermediate', ca: true });
  const intermediate = await Authority.of(issued);
  const leaf = await intermediate.issue({ commonName: 'bob', usages: ['client'] });
  assert.equal(bundle.vouchesFor(chainOf(leaf)), false);
  assert.equal(bundle.vouchesFor(chainOf(leaf, issued.cert)), true);
  assert.equal(bundle.vouchesFor(chainOf(leaf, proxies.certificate, issued.cert)), true);
  const noAuthority = await users.issue({ commonName: 'intermediate' });
  const child = await (await Authority.of(noAuthority)).issue({ commonName: 'mallory', usages: ['client'] });
  assert.equal(bundle.vouchesFor(chainOf(child, noAuthority.cert)), false);
});

test('each certificate counts within its time only', async () => {
  const alice = await users.issue({ commonName: 'alice', usages: ['client'] });
  for (const [offset, expected] of [
    [-2 * HOUR_MS, false],
    [0, true],
    [1_000 * 24 * HOUR_MS, false],
  ] as const) {
    assert.equal(bundle.vouchesFor(chainOf(alice), Date.now() + offset), expected, String(offset));
  }
  const old = await Authority.create('old', {
    notBefore: new Date(Date.now() - 3 * HOUR_MS),
    notAfter: new Date(Date.now() - HOUR_MS),
  });
  const child = await old.issue({ commonName: 'alice', usages: ['client'] });
  assert.equal(new CertificateBundle(old.certificate).vouchesFor(chainOf(child)), false);
});

test('a certificate for servers only is no client', async () => {
  for (const [usages, expected] of [
    [['server'], false],
    [['client', 'server'], true],
    [[], true],
  ] as const) {
    const issued = await users.issue({ commonName: 'alice', usages });
    assert.equal(bundle.vouchesFor(chainOf(issued)), expected, usages.join());
  }
});

test('a file without a certificate, or with a broken one, is refused', () => {
  assert.throws(() => new CertificateBundle('no PEM'), /^Error: holds no certificate in PEM$/);
  assert.throws(
    () => new CertificateBundle('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'),
    /^Error: holds a certificate that cannot be read: /,
  );
  for (const missing of [1, 30, 300]) {
    const half = `${users.certificate}${proxies.certificate.trim().slice(0, -missing)}`;
    assert.throws(() => new CertificateBundle(half), /cut off/, String(missing));
  }
});

test('CAs that are of no use in a file are told', async () => {
  const { cert: intermediate } = await users.issue({ commonName: 'intermediate', ca: true });
  const namesake = await Authority.create('users');
  const problemsIn = (...pems: string[]): readonly string[] => new CertificateBundle(pems.join('\n')).problems;
  assert.deepEqual(problemsIn(users.certificate, proxies.certificate, intermediate, users.certificate), []);
  assert.deepEqual(problemsIn(intermediate), [
    'the CA that has issued CN=intermediate is missing: what that has issued does not count without it',
  ]);
  assert.deepEqual(problemsIn(users.certificate, namesake.certificate), [
    'a second CA is named CN=users: only one of them counts',
  ]);
});

test('names are read from the subject itself, whatever they contain', async () => {
  const name = 'system:serviceaccount:a, CN=admin\nCN=root';
  const organizations = ['system:masters', 'a/b, c+d', 'ü'];
  const { cert } = await users.issue({ commonName: name, organizations });
  const certificate = new X509Certificate(cert);
  assert.equal(commonNameOf(certificate), name);
  assert.deepEqual(organizationsOf(certificate).sort(), [...organizations].sort());
  assert.deepEqual(organizationsOf(new X509Certificate((await users.issue({ commonName: 'a' })).cert)), []);
});
