import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  X509Certificate,
  type KeyObject,
} from 'node:crypto';
import { link, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { dirname } from 'node:path';
import { filesOfCertDir } from '../files/cert-dir.ts';
import { readBounded } from '../files/watched-file.ts';

const HOUR_MS = 60 * 60 * 1000;
const DAY_MS = 24 * HOUR_MS;
const VALIDITY_MS = 365 * DAY_MS;
/** For clients whose clock is behind. */
const BACKDATED_MS = HOUR_MS;
/** A certificate with less than this before it is renewed. */
const RENEWED_BEFORE_END_MS = 30 * DAY_MS;
const MAX_FILE_BYTES = 64 * 1024;
/** A node may have thousands of addresses: kube-proxy with IPVS gives it one for each Service. */
const MAX_HOST_ADDRESSES = 32;
/** Making a pair takes two steps and a look at the result; another process may undo one meanwhile. */
const MAX_STEPS = 10;

const WILDCARDS: readonly string[] = ['0.0.0.0', '::'];

export interface SelfSignedOptions {
  readonly certDir: string;
  readonly nodeName: string;
  /** Where the server listens: IP addresses and names. A wildcard stands for the addresses that the host has. */
  readonly addresses: readonly string[];
}

/** What a certificate is for: its subject alternative names. */
interface Names {
  readonly hosts: readonly string[];
  readonly ips: readonly string[];
}

/**
 * The pair in `certDir`, made if there is none that can be used for another 30 days at these addresses: a certificate for a
 * year and for the node's name, localhost and the addresses, that vouches for itself and for nothing else.
 *
 * The key is made once and kept, and each certificate is made for the key that is there. So a certificate is replaced in one
 * step, and daemons that start at once, or one that is killed half-way, leave a pair that fits together. A wildcard's
 * addresses get into a certificate that is made, but a new one does not make it anew: it would no longer be the one that
 * clients were told to trust whenever Docker makes a network. Whoever wants that removes execlet.crt.
 *
 * @throws {Error} in one line: which directory, why, and which flags help
 */
export async function selfSignedCertificate(
  { certDir, nodeName, addresses }: SelfSignedOptions,
  now = new Date(),
): Promise<{ certFile: string; keyFile: string }> {
  const files = filesOfCertDir(certDir);
  const names = namesOf([nodeName, ...addresses.filter(address => !WILDCARDS.includes(address))]);
  try {
    for (let steps = 0; steps < MAX_STEPS; steps++) {
      const keyPem = await readIfThere(files.keyFile);
      const key = parsed(keyPem, createPrivateKey);
      const certificate = parsed(await readIfThere(files.certFile), pem => new X509Certificate(pem));
      if (key !== undefined && certificate?.checkPrivateKey(key) === true && isGood(certificate, names, now))
        return files;
      if (key !== undefined && isOfOurKind(key)) {
        const all = addresses.some(address => WILDCARDS.includes(address)) ? withHostAddresses(names) : names;
        await replace(files.certFile, await newCertificate(key, { nodeName, names: all, now }), 0o644);
      } else {
        await makeDirectory(certDir);
        await (keyPem === undefined ? putFirst : replace)(files.keyFile, newKey(), 0o600);
      }
    }
    throw new Error('other processes keep replacing it');
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(
      `cannot keep a self-signed certificate in ${certDir} (${why}): name another directory with --cert-dir, or a ` +
        'certificate with --tls-cert-file and --tls-private-key-file',
      { cause },
    );
  }
}

function namesOf(addresses: readonly string[]): Names {
  const given = ['localhost', '127.0.0.1', '::1', ...addresses].map(address => address.replace(/%.*$/, '')); // no IPv6 zone
  const unique = [...new Set(given)];
  // A node may be named as no host can be; then it is reached by something else.
  const isHost = (name: string): boolean => isIP(name) === 0 && name.length <= 253 && /^\w([\w.-]*\w)?$/.test(name);
  return { hosts: unique.filter(isHost), ips: unique.filter(address => isIP(address) !== 0) };
}

function withHostAddresses({ hosts, ips }: Names): Names {
  const addresses = Object.values(networkInterfaces())
    .flatMap(listed => listed ?? [])
    .filter(({ internal, scopeid }) => !internal && (scopeid ?? 0) === 0) // a link-local address means nothing elsewhere
    .map(({ address }) => address);
  return { hosts, ips: [...new Set([...ips, ...addresses])].slice(0, ips.length + MAX_HOST_ADDRESSES) };
}

function isGood(certificate: X509Certificate, { hosts, ips }: Names, now: Date): boolean {
  const left = certificate.validToDate.getTime() - now.getTime();
  return (
    certificate.validFromDate <= now &&
    left >= RENEWED_BEFORE_END_MS &&
    hosts.every(host => certificate.checkHost(host, { subject: 'never', wildcards: false }) !== undefined) &&
    ips.every(ip => certificate.checkIP(ip) !== undefined)
  );
}

function isOfOurKind({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): boolean {
  return asymmetricKeyType === 'ec' && asymmetricKeyDetails?.namedCurve === 'prime256v1';
}

function newKey(): string {
  return pemOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
}

/** No authority: whoever has the key can be this server, and no other. */
async function newCertificate(
  key: KeyObject,
  { nodeName, names: { hosts, ips }, now }: { nodeName: string; names: Names; now: Date },
): Promise<string> {
  // Loaded here, since most daemons never make one.
  const { generate } = await import('selfsigned');
  const start = now.getTime();
  // As the kubelet's, so that it can be told from the one before.
  const commonName = `${nodeName.replace(/[^\w.-]/g, '-').slice(0, 48)}@${Math.floor(start / 1000)}`;
  const { cert } = await generate([{ name: 'commonName', value: commonName }], {
    keyType: 'ec',
    algorithm: 'sha256',
    keyPair: {
      privateKey: pemOf(key),
      publicKey: createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString(),
    },
    notBeforeDate: new Date(start - BACKDATED_MS),
    notAfterDate: new Date(start + VALIDITY_MS),
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true },
      {
        name: 'subjectAltName',
        altNames: [...hosts.map(value => ({ type: 2 as const, value })), ...ips.map(ip => ({ type: 7 as const, ip }))],
      },
    ],
  });
  return `${cert.trim()}\n`;
}

function pemOf(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** What the bytes are, or undefined where they are nothing of the kind. */
function parsed<T>(bytes: Buffer | undefined, parse: (bytes: Buffer) => T): T | undefined {
  try {
    return bytes === undefined ? undefined : parse(bytes);
  } catch {
    return undefined; // cut off, or somebody else's: it is made anew
  }
}

/**
 * The directory and the one that it is in. Not `recursive`: where the kernel says ENOENT for another reason than a missing
 * parent, as below /proc, Node would try for ever.
 */
async function makeDirectory(path: string): Promise<void> {
  for (const directory of [dirname(path), path]) {
    try {
      await mkdir(directory, { mode: 0o700 });
    } catch (cause) {
      if (codeOf(cause) !== 'EEXIST') throw cause;
    }
  }
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readBounded(path, MAX_FILE_BYTES);
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return undefined;
    throw cause;
  }
}

/** The content in one step, so that nobody reads half of it, not after a power failure either. */
async function replace(path: string, content: string, mode: number): Promise<void> {
  await inOneStep(path, content, mode, async temporary => rename(temporary, path));
}

/** The same, unless somebody was faster: then theirs stays. */
async function putFirst(path: string, content: string, mode: number): Promise<void> {
  await inOneStep(path, content, mode, async temporary => {
    try {
      await link(temporary, path);
    } catch (cause) {
      if (codeOf(cause) !== 'EEXIST') throw cause;
    }
  });
}

async function inOneStep(
  path: string,
  content: string,
  mode: number,
  put: (temporary: string) => Promise<void>,
): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    await writeFile(temporary, content, { flag: 'wx', mode, flush: true });
    await put(temporary);
  } finally {
    await rm(temporary, { force: true });
  }
}

function codeOf(cause: unknown): string | undefined {
  return cause instanceof Error ? (cause as NodeJS.ErrnoException).code : undefined;
}
