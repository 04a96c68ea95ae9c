import { ExecletError } from '../errors.ts';
import { ANONYMOUS, groupsOf, type Caller } from './caller.ts';
import { commonNameOf, organizationsOf, type CertificateBundle, type CertificateChain } from './certificate-bundle.ts';
import type { FrontProxy } from './front-proxy.ts';

/** What a request shows of its caller. */
export interface Credentials {
  /** The client certificate, where the TLS handshake has proved that the client holds its key, and its time and signatures are right. */
  readonly chain: CertificateChain | undefined;
  /** A client certificate was shown, also one that nobody vouches for. */
  readonly certificateShown: boolean;
  /** Empty for one that could not be valid; undefined for none. */
  readonly token: string | undefined;
  /** The request's headers, names in lower case, each with all its values; for a front proxy's requests only. */
  readonly headers: () => NodeJS.Dict<string[]>;
}

/** Knows the callers behind bearer tokens. */
export interface TokenAuthenticator {
  /**
   * Undefined for a token that it does not know.
   *
   * @throws {ExecletError} RuntimeUnavailable when nobody can tell
   */
  authenticate(token: string): Promise<Caller | undefined> | Caller | undefined;
}

export interface AuthenticationOptions {
  /** Of `--client-ca-file`. */
  readonly clients: (() => CertificateBundle) | undefined;
  readonly frontProxy: FrontProxy | undefined;
  /** In the order in which they are asked. */
  readonly tokens: readonly TokenAuthenticator[];
  readonly anonymous: boolean;
}

/**
 * The chain of authenticators: client certificate, front proxy, tokens, anonymous. The first that knows the caller decides; an
 * allowed front proxy's certificate is never a user's, also where one CA has issued both.
 *
 * A credential that was shown and that nobody knows is refused, unless another is shown that somebody knows. It never makes its
 * caller anonymous.
 */
export class Authentication {
  readonly #options: AuthenticationOptions;

  constructor(options: AuthenticationOptions) {
    this.#options = options;
  }

  /** @throws {ExecletError} Unauthenticated; RuntimeUnavailable when a token cannot be judged */
  async authenticate({ chain, certificateShown, token, headers }: Credentials): Promise<Caller> {
    const { frontProxy, tokens, anonymous } = this.#options;
    const proxy = chain === undefined ? undefined : frontProxy?.nameOf(chain);
    if (proxy !== undefined) {
      const caller = frontProxy?.callerOf(proxy, headers());
      if (caller !== undefined) return caller;
    } else {
      const user = chain === undefined ? undefined : this.#user(chain);
      if (user !== undefined) return user;
    }
    if (token !== undefined && token !== '') {
      for (const authenticator of tokens) {
        const caller = await authenticator.authenticate(token);
        if (caller !== undefined) return caller;
      }
    }
    if (anonymous && token === undefined && !certificateShown) return ANONYMOUS;
    throw new ExecletError('Unauthenticated', 'Unauthorized');
  }

  #user(chain: CertificateChain): Caller | undefined {
    if (this.#options.clients?.().vouchesFor(chain) !== true) return undefined;
    const name = commonNameOf(chain[0]);
    if (name === undefined) return undefined;
    const groups = groupsOf(name, organizationsOf(chain[0]));
    return { name, groups, extra: new Map(), proof: 'client_certificate' };
  }
}

/** Without any authenticator, on a loopback address: whoever asks may, as nobody in particular. */
export const OPEN = { authenticate: (): Promise<Caller> => Promise.resolve(ANONYMOUS) };
