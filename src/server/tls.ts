import { constants, createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import type { RequestListener, ServerOptions } from 'node:http';
import { createServer, type Server } from 'node:https';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { WatchedFiles, type WatchedFilesOptions } from '../files/watched-file.ts';
import { selfSignedCertificate } from './self-signed.ts';

const HANDSHAKE_TIMEOUT_MS = 10_000;
/** How often the age of a certificate that we made is looked at; also for a clock that was wrong when we made it. */
const RENEWAL_CHECK_MS = 60 * 60 * 1000;

/**
 * A resumed session carries the verdict about the client's certificate from when it began, under an older list of
 * authorities, so none is ever resumed. Without this option it would be resumed by ticket. With it OpenSSL still sends
 * session ids in TLS 1.2 and 1.3, but looks them up in a cache that Node fills only for a server with a `newSession`
 * listener. Renegotiation would be another way to another certificate, and nobody needs it.
 */
const SECURE_OPTIONS = constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION;

/** Where the certificate comes from: two PEM files, or a directory where we keep one that we make ourselves. */
export type TlsSource =
  | { readonly certFile: string; readonly keyFile: string }
  | { readonly certDir: string; readonly nodeName: string; readonly address: string };

export interface TlsCredentialsOptions {
  readonly source: TlsSource;
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
  /** As OpenSSL names them; Node's own choice without. */
  readonly ciphers?: string | undefined;
  /**
   * Of every bundle that may vouch for a client, PEM without anything else: of what it cannot read Node takes a part, and says nothing.
   * With none, clients are not asked for a certificate.
   */
  readonly clientAuthorities: readonly string[];
  /** When the certificate has been loaded again, or could not be loaded or renewed; the one before stays in use then. */
  readonly onReload: WatchedFilesOptions<unknown>['onReload'];
}

/** The certificate as people and metrics see it. */
export interface ServingCertificate {
  readonly fingerprint256: string;
  readonly subject: string;
  readonly validFrom: Date;
  readonly expiresAt: Date;
}

interface Pair {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly certificate: ServingCertificate;
}

/**
 * What the listener shows to its clients and asks of them. The certificate is loaded again when its files change, and one that
 * we made is renewed; connections that are open stay as they are, and new ones get the new.
 *
 * A client's certificate is asked for and never required here: `authorized` of a socket says only that some authority of all
 * the bundles vouches for it, and who calls is for the authenticators to tell.
 */
export class TlsCredentials {
  /** Whether we made the certificate, so that nobody trusts it who was not given it. */
  readonly selfSigned: boolean;
  readonly #options: TlsCredentialsOptions;
  readonly #files: WatchedFiles<Pair>;
  readonly #renewal: NodeJS.Timeout | undefined;
  readonly #servers = new Set<Server>();
  #clientAuthorities: readonly string[];
  #renewing: Promise<void> | undefined;
  #renewalProblem: string | undefined;

  private constructor(options: TlsCredentialsOptions, files: WatchedFiles<Pair>) {
    this.selfSigned = 'certDir' in options.source;
    this.#options = options;
    this.#files = files;
    this.#clientAuthorities = options.clientAuthorities;
    if (this.selfSigned) this.#renewal = setInterval(() => void this.#renew(), RENEWAL_CHECK_MS).unref();
  }

  /** Rejects with one line: which file cannot be used, or where no certificate can be made, and why. */
  static async open(options: TlsCredentialsOptions): Promise<TlsCredentials> {
    const { source, minVersion, ciphers, onReload } = options;
    const { certFile, keyFile } = 'certDir' in source ? await makeCertificate(source) : source;
    const files = await WatchedFiles.open({
      name: 'serving certificate',
      paths: [certFile, keyFile],
      load: (cert: Buffer, key: Buffer) => {
        const pair = pairOf(cert, key);
        createSecureContext(contextOptions({ minVersion, ciphers, clientAuthorities: [], pair })); // what OpenSSL would not take
        return pair;
      },
      onReload: (result, error) => {
        if (result === 'success') credentials.#apply();
        onReload(result, error);
      },
    });
    const credentials = new TlsCredentials(options, files);
    return credentials;
  }

  get certificate(): ServingCertificate {
    return this.#files.value.certificate;
  }

  /** Why clients refuse the certificate at this time, or undefined when they have no such reason. */
  validityProblem(now = new Date()): string | undefined {
    const { validFrom, expiresAt } = this.certificate;
    if (now < validFrom) return `the serving certificate is not valid before ${validFrom.toISOString()}`;
    if (now > expiresAt) return `the serving certificate expired at ${expiresAt.toISOString()}`;
    return undefined;
  }

  /** A server that shows this certificate, as long as it lives. Who calls listens and closes. */
  createServer(httpOptions: ServerOptions, listener: RequestListener): Server {
    const server = createServer(
      {
        ...httpOptions,
        ...this.#contextOptions(),
        ALPNProtocols: ['http/1.1'],
        handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
        requestCert: this.#clientAuthorities.length > 0,
        rejectUnauthorized: false,
      },
      listener,
    );
    this.#servers.add(server);
    server.on('close', () => this.#servers.delete(server));
    return server;
  }

  /**
   * Who may vouch for clients from now on; connections that are open are not asked again. Whether clients are asked at all
   * was settled by the first list.
   */
  setClientAuthorities(pems: readonly string[]): void {
    this.#clientAuthorities = pems;
    this.#apply();
  }

  /** For SIGHUP: reads the files now, and renews first what we made and is due. Resolves when done, also when it failed. */
  async reloadNow(): Promise<void> {
    if (this.selfSigned) await this.#renew();
    await this.#files.reloadNow();
  }

  /** Watches and renews no more. */
  close(): void {
    clearInterval(this.#renewal);
    this.#files.close();
  }

  #apply(): void {
    for (const server of this.#servers) server.setSecureContext(this.#contextOptions());
  }

  #contextOptions(): SecureContextOptions {
    const { minVersion, ciphers } = this.#options;
    return contextOptions({ minVersion, ciphers, clientAuthorities: this.#clientAuthorities, pair: this.#files.value });
  }

  /** The files are watched, so a new certificate gets into use by itself. A problem is reported once, not every hour. */
  #renew(): Promise<void> {
    const { source, onReload } = this.#options;
    if (!('certDir' in source)) return Promise.resolve();
    this.#renewing ??= makeCertificate(source).then(
      () => {
        this.#renewing = undefined;
        this.#renewalProblem = undefined;
      },
      (cause: unknown) => {
        this.#renewing = undefined;
        const error = cause instanceof Error ? cause : new Error(String(cause));
        if (error.message !== this.#renewalProblem) onReload('failure', error);
        this.#renewalProblem = error.message;
      },
    );
    return this.#renewing;
  }
}

async function makeCertificate({
  certDir,
  nodeName,
  address,
}: Extract<TlsSource, { certDir: string }>): Promise<{ certFile: string; keyFile: string }> {
  return selfSignedCertificate({ certDir, nodeName, addresses: [address] });
}

/** Everything that a context depends on, each time: `setSecureContext` keeps nothing of the one before. */
function contextOptions({
  minVersion,
  ciphers,
  clientAuthorities,
  pair: { cert, key },
}: Pick<TlsCredentialsOptions, 'minVersion' | 'ciphers' | 'clientAuthorities'> & { pair: Pair }): SecureContextOptions {
  return {
    cert,
    key,
    // Also when there are none: without a list Node would trust every public authority.
    ca: [...clientAuthorities],
    minVersion,
    ...(ciphers !== undefined && { ciphers }),
    secureOptions: SECURE_OPTIONS,
  };
}

/** The pair, or an error that says which half is wrong. OpenSSL's messages quote nothing of a file. */
function pairOf(cert: Buffer, key: Buffer): Pair {
  const certificate = parsed('the first file holds no certificate', () => new X509Certificate(cert));
  const privateKey: KeyObject = parsed('the second file holds no private key', () => createPrivateKey(key));
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new Error('the key is not that of the certificate, which has to be the first of its file');
  }
  const { fingerprint256, subject, validFromDate: validFrom, validToDate: expiresAt } = certificate;
  return { cert, key, certificate: { fingerprint256, subject: subject.split('\n').join(', '), validFrom, expiresAt } };
}

function parsed<T>(problem: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw new Error(`${problem} (${messageOf(cause)})`, { cause });
  }
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
