import { X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { TLSSocket, type DetailedPeerCertificate } from 'node:tls';
import type { Authentication } from '../access/authentication.ts';
import {
  forbiddenMessage,
  questionOf,
  type Action,
  type AuthorizationResource,
  type Authorizer,
} from '../access/authorization.ts';
import type { Caller } from '../access/caller.ts';
import type { CertificateChain } from '../access/certificate-bundle.ts';
import { ExecletError } from '../errors.ts';
import { actionOf, type RouteAction } from './action.ts';
import type { Attempt } from './attempt.ts';
import { bearerTokenOf } from './bearer-token.ts';
import { notFound } from './error-response.ts';
import { checkLoopbackHost, checkOrigin } from './origin.ts';

const IMPERSONATE_PREFIX = 'impersonate-';

export interface AccessControlOptions {
  readonly authentication: Pick<Authentication, 'authenticate'>;
  readonly authorizer: Authorizer;
  readonly resource: AuthorizationResource;
  readonly nodeName: string;
  readonly allowedOrigins: ReadonlySet<string>;
  /** The listener's address is loopback, which web pages reach too: whoever shows no credential must address it as such. */
  readonly loopback: boolean;
}

/** Who asks, and whether they may: asked for every request and every upgrade, and nowhere else. */
export class AccessControl {
  readonly #options: AccessControlOptions;
  /** A connection's certificates never change: TLS is not renegotiated. */
  readonly #certificates = new WeakMap<TLSSocket, Certificates>();

  constructor(options: AccessControlOptions) {
    this.#options = options;
  }

  /**
   * Who asks for what, and whether they may; the attempt learns how far it came. An exec stands for itself: its query must be read
   * before it can be authorised.
   *
   * @throws {ExecletError} Unauthenticated, NotAllowed; HandlerNotFound for a path that nobody has decided about; RuntimeUnavailable
   * when nobody can tell
   */
  async check(attempt: Attempt): Promise<{ readonly caller: Caller; readonly action: RouteAction }> {
    const { incoming, pathname } = attempt;
    const caller = await this.#identify(incoming);
    attempt.caller = caller;
    attempt.stage = 'request';
    const action = actionOf(incoming.method ?? '', pathname);
    if (action === undefined) throw notFound(incoming);
    attempt.stage = 'authorize';
    if (action.kind !== 'exec') await this.authorize(caller, action);
    return { caller, action };
  }

  async #identify(request: IncomingMessage): Promise<Caller> {
    const { authentication, allowedOrigins, loopback } = this.#options;
    const { headers, socket } = request;
    checkOrigin(headers, { tls: socket instanceof TLSSocket, allowedOrigins });
    if (Object.keys(headers).some(name => name.startsWith(IMPERSONATE_PREFIX))) {
      throw new ExecletError('NotAllowed', 'impersonation is not supported: send no Impersonate-* headers');
    }
    const caller = await authentication.authenticate({
      ...this.#certificatesOf(socket),
      token: bearerTokenOf(request),
      headers: () => request.headersDistinct,
    });
    if (caller.proof === 'anonymous' && loopback) checkLoopbackHost(headers);
    return caller;
  }

  /** @throws {ExecletError} NotAllowed; RuntimeUnavailable when nobody can tell */
  async authorize(caller: Caller, action: Action): Promise<void> {
    if (action.kind === 'discovery') return;
    const decision = await this.#options.authorizer.decide(caller, action);
    if (decision.allowed) return;
    throw new ExecletError('NotAllowed', forbiddenMessage(caller, questionOf(action, this.#options), decision.reason));
  }

  #certificatesOf(socket: unknown): Certificates {
    if (!(socket instanceof TLSSocket)) return NO_CERTIFICATES;
    const certificates = this.#certificates.get(socket) ?? readCertificates(socket);
    this.#certificates.set(socket, certificates);
    return certificates;
  }
}

interface Certificates {
  readonly chain: CertificateChain | undefined;
  readonly certificateShown: boolean;
}

const NO_CERTIFICATES: Certificates = { chain: undefined, certificateShown: false };

/** What the client of a connection showed; the chain only where OpenSSL has found it in order against all our CAs together. */
function readCertificates(socket: TLSSocket): Certificates {
  const leaf = socket.getPeerX509Certificate();
  if (leaf === undefined) return NO_CERTIFICATES;
  if (!socket.authorized) return { chain: undefined, certificateShown: true };
  const sent: X509Certificate[] = [];
  const seen = new Set<string>();
  // The last of an incomplete chain has no issuer, whatever the types say, and a root is its own.
  let next: Partial<DetailedPeerCertificate> | undefined = socket.getPeerCertificate(true).issuerCertificate;
  while (next?.raw !== undefined && next.fingerprint256 !== undefined && !seen.has(next.fingerprint256)) {
    seen.add(next.fingerprint256);
    sent.push(new X509Certificate(next.raw));
    next = next.issuerCertificate;
  }
  return { chain: [leaf, ...sent], certificateShown: true };
}
