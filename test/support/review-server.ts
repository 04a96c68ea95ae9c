import { once } from 'node:events';
import { chmod, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { TLSSocket } from 'node:tls';
import { z } from 'zod';
import { Authority, type Issued } from './authority.ts';
import { temporaryDirectory } from './cleanup.ts';

const strings = z.array(z.string());
const meta = z.looseObject({}).optional();

// Strict, as an API server is that validates fields: a misspelt one is a request that asks something else.
const tokenReview = z.strictObject({
  apiVersion: z.literal('authentication.k8s.io/v1'),
  kind: z.literal('TokenReview'),
  metadata: meta,
  spec: z.strictObject({ token: z.string().min(1), audiences: strings.optional() }),
});

const accessSpec = z
  .strictObject({
    user: z.string().optional(),
    uid: z.string().optional(),
    groups: strings.optional(),
    extra: z.record(z.string(), strings).optional(),
    resourceAttributes: z
      .strictObject({
        namespace: z.string().optional(),
        verb: z.string().optional(),
        group: z.string().optional(),
        version: z.string().optional(),
        resource: z.string().optional(),
        subresource: z.string().optional(),
        name: z.string().optional(),
      })
      .optional(),
    nonResourceAttributes: z.strictObject({ path: z.string().optional(), verb: z.string().optional() }).optional(),
  })
  .refine(spec => (spec.resourceAttributes === undefined) !== (spec.nonResourceAttributes === undefined))
  .refine(spec => (spec.user ?? '') !== '' || (spec.groups ?? []).length > 0);
const accessReview = z.strictObject({
  apiVersion: z.literal('authorization.k8s.io/v1'),
  kind: z.literal('SubjectAccessReview'),
  metadata: meta,
  spec: accessSpec,
});

export type AccessSpec = z.infer<typeof accessSpec>;

/** A request as it arrived, whether it was any good or not. */
export interface ReceivedReview {
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** What is done with a request instead of answering it. Every answer repeats the request, so that a text made of it shows. */
export type Fault =
  | { readonly status: number }
  /** 307 to another path of the same server. */
  | 'redirect'
  /** Nothing, until the client goes. */
  | 'silence'
  /** The head of an answer, some of its body, and nothing more. */
  | 'half an answer'
  | 'hang up'
  | 'unasked upgrade'
  | 'not JSON'
  /** JSON, and called text. */
  | 'plain text'
  | 'another kind'
  | 'no status'
  /** 2 MiB of a good answer. */
  | 'huge';

/** What a kubeconfig for the server says. */
export interface KubeconfigOptions {
  /** Defaults to the server's bearer token. */
  readonly user?: Readonly<Record<string, unknown>>;
  readonly cluster?: Readonly<Record<string, unknown>>;
}

/** As much of an API server as reviews are: TokenReview and SubjectAccessReview, for those who may ask. */
export class ReviewServer {
  /** Whoever shows this may ask; so may `client`. */
  token = 'the-token-of-execlet';
  readonly users = new Map<string, Readonly<Record<string, unknown>>>();
  /** `status` of a SubjectAccessReview. */
  decide: (spec: AccessSpec) => Readonly<Record<string, unknown>> = () => ({ allowed: false });
  /** For the next requests, one each. */
  readonly faults: Fault[] = [];
  readonly received: ReceivedReview[] = [];
  /** TLS handshakes so far. */
  handshakes = 0;
  readonly authority: Authority;
  readonly client: Issued;
  readonly directory: string;
  readonly #server: ReturnType<typeof createServer>;
  readonly #removeDirectory: () => Promise<void>;
  #kubeconfigs = 0;
  #arrivals: (() => void)[] = [];

  private constructor(authority: Authority, issued: { server: Issued; client: Issued }, directory: TemporaryDirectory) {
    this.authority = authority;
    this.client = issued.client;
    this.directory = directory.path;
    this.#removeDirectory = directory.remove;
    const { cert, key } = issued.server;
    this.#server = createServer(
      { cert, key, ca: authority.certificate, requestCert: true, rejectUnauthorized: false },
      (request, response) => void this.#serve(request, response),
    );
    this.#server.on('secureConnection', () => this.handshakes++);
    this.#server.on('tlsClientError', () => undefined); // a test's client that does not trust us
  }

  static async start(): Promise<ReviewServer> {
    const authority = await Authority.create('cluster');
    const [server, client, directory] = await Promise.all([
      authority.issue({ commonName: 'kube-apiserver', usages: ['server'], sans: ['127.0.0.1', 'api.example'] }),
      authority.issue({ commonName: 'execlet', usages: ['client'] }),
      temporaryDirectory('reviews'),
    ]);
    const started = new ReviewServer(authority, { server, client }, directory);
    started.#server.listen(0, '127.0.0.1');
    await once(started.#server, 'listening');
    return started;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the review server does not listen');
    return address.port;
  }

  /** Resolves when so many requests have arrived in all. */
  async arrived(count: number): Promise<void> {
    while (this.received.length < count) await new Promise<void>(resolve => this.#arrivals.push(resolve));
  }

  /** Writes a kubeconfig with these entries in place of the usual ones, and says where. */
  async kubeconfig({ user, cluster }: KubeconfigOptions = {}): Promise<string> {
    const base64 = (pem: string): string => Buffer.from(pem).toString('base64');
    const clusterEntry = {
      server: `https://127.0.0.1:${this.port}`,
      'certificate-authority-data': base64(this.authority.certificate),
      ...cluster,
    };
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'here', cluster: clusterEntry }],
      users: [{ name: 'execlet', user: user ?? { token: this.token } }],
      contexts: [{ name: 'reviews', context: { cluster: 'here', user: 'execlet' } }],
      'current-context': 'reviews',
    };
    return this.write(`kubeconfig-${++this.#kubeconfigs}`, JSON.stringify(config)); // JSON is YAML
  }

  /** Writes a file next to the kubeconfigs. */
  async write(name: string, contents: string): Promise<string> {
    const file = join(this.directory, name);
    await writeFile(file, contents);
    await chmod(file, 0o600);
    return file;
  }

  /** Closes the connections that are not in use, as a server does that has had enough of them. */
  closeIdleConnections(): void {
    this.#server.closeIdleConnections();
  }

  /** Ends every connection, and takes no more. */
  async close(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await this.#removeDirectory();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await text(request);
    const received = { path: request.url ?? '', headers: request.headers, body };
    this.received.push(received);
    for (const arrival of this.#arrivals.splice(0)) arrival();
    const fault = this.faults.shift();
    if (fault !== undefined && this.#fail(fault, received, response)) return;
    const status = this.#authenticated(request) ? 201 : 401;
    if (status === 401) {
      refuse(response, status, received);
      return;
    }
    const review = this.#answer(received);
    if (review === undefined) {
      refuse(response, 400, received);
      return;
    }
    reply(response, status, fault === undefined ? review : spoiled(review, fault));
  }

  #authenticated({ socket, headers }: IncomingMessage): boolean {
    return (socket instanceof TLSSocket && socket.authorized) || headers.authorization === `Bearer ${this.token}`;
  }

  /** The review with its status; undefined: not a request that an API server takes. */
  #answer({ path, headers, body }: ReceivedReview): Readonly<Record<string, unknown>> | undefined {
    if (headers['content-type'] !== 'application/json') return undefined;
    if (path === '/apis/authentication.k8s.io/v1/tokenreviews') {
      const review = tokenReview.safeParse(JSON.parse(body)).data;
      if (review === undefined) return undefined;
      const user = this.users.get(review.spec.token);
      // What a real one says of a bad token; Go leaves `authenticated: false` out.
      const unknown = { user: {}, error: `[invalid bearer token, ${review.spec.token}]` };
      return { ...review, status: user === undefined ? unknown : { authenticated: true, user } };
    }
    if (path === '/apis/authorization.k8s.io/v1/subjectaccessreviews') {
      const review = accessReview.safeParse(JSON.parse(body)).data;
      return review && { ...review, status: this.decide(review.spec) };
    }
    return undefined;
  }

  /** Does what needs no good answer; false where one is to be spoiled. */
  #fail(fault: Fault, received: ReceivedReview, response: ServerResponse): boolean {
    if (typeof fault === 'object') refuse(response, fault.status, received);
    else if (fault === 'hang up') response.destroy();
    else if (fault === 'half an answer')
      response.writeHead(201, JSON_TYPE).write(`{"echo":${JSON.stringify(received)},`);
    else if (fault === 'not JSON') response.writeHead(201, JSON_TYPE).end(`${received.body} and more`);
    else if (fault === 'redirect')
      response.writeHead(307, { Location: `https://127.0.0.1:${this.port}/elsewhere` }).end();
    else if (fault === 'unasked upgrade') {
      response.socket?.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n');
    } else return fault === 'silence';
    return true;
  }
}

type TemporaryDirectory = Awaited<ReturnType<typeof temporaryDirectory>>;

const JSON_TYPE = { 'Content-Type': 'application/json' };

function reply(response: ServerResponse, status: number, body: Readonly<Record<string, unknown>> | string): void {
  const type = typeof body === 'string' ? { 'Content-Type': 'text/plain' } : JSON_TYPE;
  response.writeHead(status, type).end(typeof body === 'string' ? body : JSON.stringify(body));
}

function refuse(response: ServerResponse, code: number, received: ReceivedReview): void {
  const message = `cannot do ${JSON.stringify(received)}`;
  reply(response, code, { apiVersion: 'v1', kind: 'Status', status: 'Failure', message, code });
}

function spoiled(review: Readonly<Record<string, unknown>>, fault: Fault): Readonly<Record<string, unknown>> | string {
  if (fault === 'plain text') return JSON.stringify(review);
  if (fault === 'another kind') return { ...review, kind: 'SelfSubjectReview' };
  if (fault === 'no status') return { ...review, status: undefined };
  return { ...review, metadata: { annotations: { padding: 'x'.repeat(2 * 1024 * 1024) } } };
}
