import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { usesTls } from '../config/access-settings.ts';
import type { Settings } from '../config/schema.ts';
import { DEFAULT_CERT_DIR, filesOfCertDir } from '../files/cert-dir.ts';
import { TlsCredentials } from '../server/tls.ts';
import { checkNames, checkValidity } from './certificate-check.ts';
import { messageOf, note, ok, problem, type Finding } from './check.ts';
import { checkPrivate, directoryProblem, exists } from './file-check.ts';

const TRUST =
  'clients must be given it to trust (execlet kubeconfig does), or give serve one of a CA with --tls-cert-file';

const MADE_ANEW = 'serve makes a new one when it starts, and while it runs within the hour';

interface Pair {
  readonly certFile: string;
  readonly keyFile: string;
  /** We make it, and so renew it. */
  readonly ours?: boolean;
}

/** The certificate that the daemon shows, or would make. Nothing where it speaks plain HTTP. */
export async function checkTls(settings: Settings, now: Date): Promise<readonly Finding[]> {
  if (!usesTls(settings)) return [];
  const { tlsCertFile: certFile, tlsPrivateKeyFile: keyFile, certDir = DEFAULT_CERT_DIR } = settings;
  return certFile === undefined || keyFile === undefined
    ? checkSelfSigned(certDir, settings, now)
    : checkPair('the certificate', { certFile, keyFile }, settings, now);
}

async function checkPair(what: string, pair: Pair, settings: Settings, now: Date): Promise<readonly Finding[]> {
  const named = `${what} ${pair.certFile}`;
  const { tlsMinVersion: minVersion, tlsCipherSuites: ciphers } = settings;
  try {
    // As the daemon opens it: the two must fit, and OpenSSL must take them.
    const options = { source: pair, minVersion, ciphers, clientAuthorities: [], onReload: () => undefined };
    (await TlsCredentials.open(options)).close();
  } catch (cause) {
    return [problem(`${messageOf(cause)}: give serve another pair, or remove one that it has made: it makes it anew`)];
  }
  const certificate = new X509Certificate(await readFile(pair.certFile));
  const valid = ok(`${named} fits its key, and is valid until ${certificate.validToDate.toISOString()}`);
  const findings = [
    checkValidity(named, certificate, now, pair.ours === true ? MADE_ANEW : undefined) ?? valid,
    checkNames(named, certificate, settings),
    await checkPrivate('the private key', pair.keyFile),
  ];
  return findings.filter(finding => finding !== undefined);
}

async function checkSelfSigned(certDir: string, settings: Settings, now: Date): Promise<readonly Finding[]> {
  const pair = { ...filesOfCertDir(certDir), ours: true };
  const why = await writeProblem(certDir);
  const cure = 'give it to this user, or name another with --cert-dir';
  const cannot = why === undefined ? [] : [problem(`no certificate can be kept in ${certDir} (${why}): ${cure}`)];
  if (!(await exists(pair.certFile))) {
    return why === undefined ? [note(`serve will make a self-signed certificate in ${certDir}: ${TRUST}`)] : cannot;
  }
  return [
    ...cannot,
    ...(await checkPair('the self-signed certificate', pair, settings, now)),
    note(`${pair.certFile} is self-signed: ${TRUST}`),
  ];
}

/** The daemon makes the directory, and the one that it is in. */
async function writeProblem(certDir: string): Promise<string | undefined> {
  const above = dirname(certDir);
  for (const directory of [certDir, above]) if (await exists(directory)) return directoryProblem(directory);
  return directoryProblem(dirname(above));
}
