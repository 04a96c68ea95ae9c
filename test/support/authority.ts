import 'reflect-metadata'; // first: the next import needs it
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
  type Extension,
} from '@peculiar/x509';
import type { webcrypto } from 'node:crypto';
import { isIP } from 'node:net';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const HOUR_MS = 60 * 60 * 1000;
const USAGES = { client: ExtendedKeyUsage.clientAuth, server: ExtendedKeyUsage.serverAuth };

/** A certificate and its private key, both PEM. */
export interface Issued {
  readonly cert: string;
  readonly key: string;
}

/** What a certificate is to say. */
export interface IssueOptions {
  readonly commonName: string;
  /** In one part of the subject, as Go writes it and so kubeadm. */
  readonly organizations?: readonly string[];
  /** None: the certificate does not limit what it is for. */
  readonly usages?: readonly ('client' | 'server')[];
  /** An hour ago unless given; the end is in a day. */
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** IP addresses and DNS names. */
  readonly sans?: readonly string[];
  /** Whether it may issue others: `Authority.of` makes an authority of it. */
  readonly ca?: boolean;
}

/** A certificate authority of the tests; a root, or one that another has issued. */
export class Authority {
  /** Its own certificate, PEM. */
  readonly certificate: string;
  readonly #certificate: X509Certificate;
  readonly #key: webcrypto.CryptoKey;

  private constructor(certificate: X509Certificate, key: webcrypto.CryptoKey) {
    this.certificate = pemOf(certificate);
    this.#certificate = certificate;
    this.#key = key;
  }

  /** A root. Two of the same name are two authorities: each has its own key. */
  static async create(name: string, { notBefore, notAfter }: Validity = {}): Promise<Authority> {
    const keys = await newKeys();
    const certificate = await X509CertificateGenerator.createSelfSigned({
      name: [{ CN: [name] }],
      ...validity({ notBefore, notAfter }),
      signingAlgorithm: ALGORITHM,
      keys,
      extensions: [...authorityExtensions(), await SubjectKeyIdentifierExtension.create(keys.publicKey)],
    });
    return new Authority(certificate, keys.privateKey);
  }

  /** The authority that a certificate issued with `ca` belongs to. */
  static async of({ cert, key }: Issued): Promise<Authority> {
    const privateKey = await crypto.subtle.importKey('pkcs8', PemConverter.decodeFirst(key), ALGORITHM, true, ['sign']);
    return new Authority(new X509Certificate(cert), privateKey);
  }

  /** An authority that this one has issued. */
  async intermediate(name: string): Promise<Authority> {
    return Authority.of(await this.issue({ commonName: name, ca: true }));
  }

  /** A certificate with a fresh key. The chain is not part of it: add `certificate` of each intermediate. */
  async issue({
    commonName,
    organizations = [],
    usages = [],
    notBefore,
    notAfter,
    sans = [],
    ca = false,
  }: IssueOptions): Promise<Issued> {
    const { publicKey, privateKey } = await newKeys();
    const extensions: Extension[] = [
      ...(ca ? authorityExtensions() : [new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true)]),
      await SubjectKeyIdentifierExtension.create(publicKey),
      await AuthorityKeyIdentifierExtension.create(this.#certificate.publicKey),
    ];
    if (usages.length > 0) extensions.push(new ExtendedKeyUsageExtension(usages.map(usage => USAGES[usage])));
    if (sans.length > 0) {
      const names = sans.map(value => ({ type: isIP(value) === 0 ? ('dns' as const) : ('ip' as const), value }));
      extensions.push(new SubjectAlternativeNameExtension(names));
    }
    const certificate = await X509CertificateGenerator.create({
      subject: [...(organizations.length > 0 ? [{ O: [...organizations] }] : []), { CN: [commonName] }],
      issuer: this.#certificate.subjectName,
      ...validity({ notBefore, notAfter }),
      signingAlgorithm: ALGORITHM,
      publicKey,
      signingKey: this.#key,
      extensions,
    });
    const key = PemConverter.encode(await crypto.subtle.exportKey('pkcs8', privateKey), 'PRIVATE KEY');
    return { cert: pemOf(certificate), key: `${key}\n` };
  }
}

interface Validity {
  readonly notBefore?: Date | undefined;
  readonly notAfter?: Date | undefined;
}

function validity({ notBefore, notAfter }: Validity): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return { notBefore: notBefore ?? new Date(now - HOUR_MS), notAfter: notAfter ?? new Date(now + 24 * HOUR_MS) };
}

function authorityExtensions(): Extension[] {
  return [
    new BasicConstraintsExtension(true, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
  ];
}

async function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

function pemOf(certificate: X509Certificate): string {
  return `${certificate.toString('pem')}\n`;
}
