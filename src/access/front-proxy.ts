import { isUtf8 } from 'node:buffer';
import { groupsOf, type Caller } from './caller.ts';
import { commonNameOf, type CertificateBundle, type CertificateChain } from './certificate-bundle.ts';

/** The one name that allows every name; it has to be said. */
export const ANY_NAME = '*';
/** Of one header, and of all the groups and extras; what is beyond is no identity of a person. */
const MAX_VALUES = 1_000;

export interface FrontProxyOptions {
  readonly bundle: () => CertificateBundle;
  /** Common names of proxies, or `*` for any. Never empty. */
  readonly allowedNames: readonly string[];
  readonly usernameHeaders: readonly string[];
  readonly groupHeaders: readonly string[];
  readonly extraHeadersPrefix: string;
}

/**
 * Reads who a front proxy says its caller is, as an aggregated API server does (`--requestheader-*`): in headers, which count only
 * from a certificate of the proxies' own CA that has an allowed name.
 */
export class FrontProxy {
  readonly #options: FrontProxyOptions;

  /** Header names in any case. */
  constructor(options: FrontProxyOptions) {
    const lower = (names: readonly string[]): string[] => names.map(name => name.toLowerCase());
    this.#options = {
      ...options,
      usernameHeaders: lower(options.usernameHeaders),
      groupHeaders: lower(options.groupHeaders),
      extraHeadersPrefix: options.extraHeadersPrefix.toLowerCase(),
    };
  }

  /** The proxy's common name, where the certificate is one of an allowed front proxy. */
  nameOf(chain: CertificateChain): string | undefined {
    const name = commonNameOf(chain[0]);
    const { allowedNames, bundle } = this.#options;
    if (name === undefined || !(allowedNames.includes(ANY_NAME) || allowedNames.includes(name))) return undefined;
    return bundle().vouchesFor(chain) ? name : undefined;
  }

  /** Whom the proxy's headers name; undefined when they name nobody. */
  callerOf(proxy: string, headers: NodeJS.Dict<string[]>): Caller | undefined {
    const { usernameHeaders, groupHeaders, extraHeadersPrefix } = this.#options;
    const valuesOf = (names: readonly string[]): string[] =>
      names
        .flatMap(header => headers[header] ?? [])
        .map(asText)
        .filter(value => value !== '');
    const [name] = valuesOf(usernameHeaders);
    if (name === undefined) return undefined;
    const groups = valuesOf(groupHeaders);
    return {
      name,
      groups: groupsOf(name, groups.slice(0, MAX_VALUES)),
      extra: extrasOf(headers, extraHeadersPrefix),
      proof: 'front_proxy',
      proxy,
    };
  }
}

/** `X-Remote-Extra-Scopes: a` → `scopes: [a]`. Keys may be percent-encoded, since a header's name cannot hold every character. */
function extrasOf(headers: NodeJS.Dict<string[]>, prefix: string): Map<string, readonly string[]> {
  const extra = new Map<string, readonly string[]>();
  for (const [header, values = []] of Object.entries(headers)) {
    if (!header.startsWith(prefix) || header.length === prefix.length || extra.size === MAX_VALUES) continue;
    const key = decodedKey(header.slice(prefix.length));
    extra.set(key, [...(extra.get(key) ?? []), ...values.slice(0, MAX_VALUES).map(asText)]);
  }
  return extra;
}

/** Node reads the bytes of a header as Latin-1; Go's proxies send UTF-8. */
function asText(value: string): string {
  const bytes = Buffer.from(value, 'latin1');
  return isUtf8(bytes) ? bytes.toString() : value;
}

/** A key that is no percent-encoding is taken as it came, as in Kubernetes. */
function decodedKey(key: string): string {
  try {
    return decodeURIComponent(key).toLowerCase();
  } catch {
    return key;
  }
}
