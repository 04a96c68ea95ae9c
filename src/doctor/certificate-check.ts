import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { note, ok, problem, type Finding } from './check.ts';

const DAY_MS = 24 * 60 * 60 * 1_000;
const EXPIRES_SOON_MS = 30 * DAY_MS;

/** Whether the certificate is good now and for a while: undefined where it is. */
export function checkValidity(
  what: string,
  { validFromDate, validToDate }: Pick<X509Certificate, 'validFromDate' | 'validToDate'>,
  now: Date,
  cure = 'renew it; a daemon that runs reads the new one by itself',
): Finding | undefined {
  const [from, until] = [validFromDate.toISOString(), validToDate.toISOString()];
  if (now < validFromDate) {
    return problem(
      `${what} is not valid before ${from}, and here it is ${now.toISOString()}: see this host's clock (timedatectl status), then the certificate`,
    );
  }
  if (now > validToDate) return problem(`${what} expired at ${until}: ${cure}`);
  const leftMs = validToDate.getTime() - now.getTime();
  if (leftMs >= EXPIRES_SOON_MS) return undefined;
  const left = leftMs < DAY_MS ? 'within a day' : `in ${Math.floor(leftMs / DAY_MS)} days`;
  return note(`${what} expires ${left}, at ${until}: ${cure}`);
}

/** Whom a serving certificate is for, and whether that covers the address and the node's name. */
export function checkNames(
  what: string,
  certificate: X509Certificate,
  { address, nodeName }: { readonly address: string; readonly nodeName: string },
): Finding {
  const names = (certificate.subjectAltName ?? '').replaceAll(/\b(DNS|IP Address):/g, '');
  if (names === '') {
    return problem(
      `${what} has no subject alternative name, and clients look at no other name: have one issued that does`,
    );
  }
  const wildcard = address === '0.0.0.0' || address === '::';
  const missing = [...(wildcard ? [] : [address]), nodeName].filter(name => !covers(certificate, name));
  if (missing.length === 0) return ok(`${what} is for ${names}`);
  const refused = `clients that ask by ${missing.length === 1 ? 'that name' : 'these names'} refuse it`;
  const cure = 'have one issued with it, or ask by another (kubectl --tls-server-name)';
  return note(`${what} is for ${names}, and not for ${missing.join(' or ')}: ${refused}; ${cure}`);
}

function covers(certificate: X509Certificate, name: string): boolean {
  const found = isIP(name) === 0 ? certificate.checkHost(name, { subject: 'never' }) : certificate.checkIP(name);
  return found !== undefined;
}
