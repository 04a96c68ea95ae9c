import { X509Certificate } from 'node:crypto';

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;
const PEM_BEGIN = '-----BEGIN CERTIFICATE-----';
/** Of those that a client sends with its own. */
const MAX_INTERMEDIATES = 10;
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
const ANY_USAGE = '2.5.29.37.0';

/** What a client showed in its TLS handshake: its own certificate first, then what it sent with it. */
export type CertificateChain = readonly [X509Certificate, ...X509Certificate[]];

/**
 * The certificates of one CA file, and who is vouched for by exactly these.
 *
 * Node's verdict on a TLS client is given over all CAs of the server together: with the CAs of users and those of front proxies in
 * one store, a certificate of either kind would pass for the other. So each bundle is asked apart, on top of that verdict.
 */
export class CertificateBundle {
  /** What was read, and nothing else that may have stood around it. */
  readonly pem: string;
  /** What of it is of no use: OpenSSL, whose verdict comes first, takes no certificate that these CAs have issued. One line each. */
  readonly problems: readonly string[];
  /** In the order of the file. */
  readonly authorities: readonly X509Certificate[];

  /** @throws {Error} in one line, for a text without a certificate or with one that does not parse */
  constructor(pem: string) {
    this.authorities = (pem.match(PEM_CERTIFICATE) ?? []).map(parseCertificate);
    if (this.authorities.length === 0) throw new Error('holds no certificate in PEM');
    // A file that is only half there would else lose CAs, and with them callers, without a word.
    if (this.authorities.length !== pem.split(PEM_BEGIN).length - 1)
      throw new Error('holds a certificate that is cut off');
    this.problems = problemsOf(this.authorities);
    this.pem = this.authorities.map(authority => authority.toString()).join('');
  }

  /**
   * Whether one of these CAs vouches for the chain's first certificate as a TLS client, now: signatures lead to a CA of this file,
   * perhaps over certificates that came with it, each within its time, and no usage excludes a client.
   */
  vouchesFor([leaf, ...sent]: CertificateChain, now = Date.now()): boolean {
    if (!isClient(leaf) || !isCurrent(leaf, now)) return false;
    // Each certificate is looked at once, whatever they say of each other.
    const reached = new Set([leaf]);
    for (const certificate of reached) {
      if (this.authorities.some(authority => isIssuerOf(authority, certificate, now))) return true;
      for (const candidate of sent.slice(0, MAX_INTERMEDIATES)) {
        if (!reached.has(candidate) && isIssuerOf(candidate, certificate, now)) reached.add(candidate);
      }
    }
    return false;
  }
}

function parseCertificate(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause); // OpenSSL's, which quotes nothing
    throw new Error(`holds a certificate that cannot be read: ${why}`, { cause });
  }
}

function problemsOf(authorities: readonly X509Certificate[]): string[] {
  return authorities.flatMap((authority, index) => {
    const name = authority.subject.split('\n').join(', ');
    const before = authorities.slice(0, index).filter(({ subject }) => subject === authority.subject);
    if (before.some(({ raw }) => !raw.equals(authority.raw)))
      return `a second CA is named ${name}: only one of them counts`;
    if (authorities.some(issuer => authority.checkIssued(issuer))) return [];
    return `the CA that has issued ${name} is missing: what that has issued does not count without it`;
  });
}

function isIssuerOf(issuer: X509Certificate, child: X509Certificate, now: number): boolean {
  return issuer.ca && isCurrent(issuer, now) && child.checkIssued(issuer) && child.verify(issuer.publicKey);
}

function isCurrent({ validFromDate, validToDate }: X509Certificate, now: number): boolean {
  return validFromDate.getTime() <= now && now <= validToDate.getTime();
}

/** As in RFC 5280 4.2.1.12: a certificate without extended usages may be used for anything. */
function isClient({ keyUsage }: X509Certificate): boolean {
  // Node names the field after the extended usages that it lists; its types know a list only.
  const usages = keyUsage as readonly string[] | undefined;
  return usages === undefined || usages.includes(CLIENT_AUTH) || usages.includes(ANY_USAGE);
}

/** The certificate's one common name; a certificate with several, or with none, names nobody. */
export function commonNameOf(certificate: X509Certificate): string | undefined {
  const names = subjectOf(certificate, 'CN');
  const [name = ''] = names;
  return names.length === 1 && name !== '' ? name : undefined;
}

/** The certificate's organizations, which are its user's groups. */
export function organizationsOf(certificate: X509Certificate): string[] {
  return subjectOf(certificate, 'O').filter(name => name !== '');
}

/** Taken from the parsed subject: its text form is for people, and a name can be made to look like two there. */
function subjectOf(certificate: X509Certificate, field: 'CN' | 'O'): string[] {
  const { subject } = certificate.toLegacyObject() as { subject?: Readonly<Record<string, string | string[]>> };
  return [subject?.[field] ?? []].flat();
}
