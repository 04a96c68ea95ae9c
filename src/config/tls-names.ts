/** The oldest TLS version that may be spoken, as Kubernetes names it and as Node does. Older ones than these are broken. */
const VERSIONS: ReadonlyMap<string, TlsVersion> = new Map([
  ['VersionTLS12', 'TLSv1.2'],
  ['VersionTLS13', 'TLSv1.3'],
]);

/**
 * The suites that Kubernetes takes without a warning, IANA name → OpenSSL's. The kubelet knows two of them by a second, older
 * name.
 */
const TLS12_SUITES: ReadonlyMap<string, string> = new Map([
  ['TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256', 'ECDHE-ECDSA-AES128-GCM-SHA256'],
  ['TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256', 'ECDHE-RSA-AES128-GCM-SHA256'],
  ['TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384', 'ECDHE-ECDSA-AES256-GCM-SHA384'],
  ['TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384', 'ECDHE-RSA-AES256-GCM-SHA384'],
  ['TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256', 'ECDHE-ECDSA-CHACHA20-POLY1305'],
  ['TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305', 'ECDHE-ECDSA-CHACHA20-POLY1305'],
  ['TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256', 'ECDHE-RSA-CHACHA20-POLY1305'],
  ['TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305', 'ECDHE-RSA-CHACHA20-POLY1305'],
  ['TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA', 'ECDHE-ECDSA-AES128-SHA'],
  ['TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA', 'ECDHE-RSA-AES128-SHA'],
  ['TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA', 'ECDHE-ECDSA-AES256-SHA'],
  ['TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA', 'ECDHE-RSA-AES256-SHA'],
]);

/** OpenSSL has the IANA names here; the order is its own. */
const TLS13_SUITES = ['TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256', 'TLS_AES_128_GCM_SHA256'] as const;

/** What the kubelet lists as insecure: RC4, 3DES, RSA key exchange (no forward secrecy), and CBC with SHA-256. */
const INSECURE = /^TLS_(RSA_\w+|\w+_(RC4|3DES)_\w+|\w+_CBC_SHA256)$/;

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3';

/** Every version and suite that can be named, for `--help`. */
export const TLS_VERSIONS: readonly string[] = [...VERSIONS.keys()];
export const TLS_CIPHER_SUITES: readonly string[] = [...TLS13_SUITES, ...TLS12_SUITES.keys()];

/** `VersionTLS12` → Node's `TLSv1.2`; undefined for a name that is none of TLS_VERSIONS. */
export function parseTlsVersion(name: string): TlsVersion | undefined {
  return VERSIONS.get(name);
}

/**
 * What `tls.createSecureContext` wants for a list of IANA names, most preferred first; no names, Node's own choice. Or what is
 * wrong with the first name that cannot be used.
 *
 * A list that names no suite of TLS 1.3 leaves them all usable, as in Go, which does not let anybody choose them; so a list
 * that was written for the kubelet works, and with TLS 1.3 as the oldest version it changes nothing. A list that names some
 * of them means it: there are no others then, and without any of TLS 1.2 that version is not spoken.
 */
export function parseCipherSuites(
  names: readonly string[],
): { readonly ciphers?: string } | { readonly problem: string } {
  if (names.length === 0) return {};
  const tls12: string[] = [];
  const tls13: string[] = [];
  for (const name of names) {
    const suite = TLS12_SUITES.get(name);
    if (suite !== undefined) tls12.push(suite);
    else if (TLS13_SUITES.some(known => known === name)) tls13.push(name);
    else if (INSECURE.test(name)) return { problem: `${name} is insecure` };
    else return { problem: `${JSON.stringify(name)} is no cipher suite that execlet knows` };
  }
  return { ciphers: [...(tls13.length === 0 ? TLS13_SUITES : tls13), ...tls12].join(':') };
}
