import { constants, randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { Socket } from 'node:net';
import type { Config } from './config.ts';
import { exec, refuseWith, type Handled } from './exec.ts';
import { Locator, NAME, type Asker } from './locator.ts';
import { LostNodes } from './lost-nodes.ts';
import { get } from './nodes.ts';
import { listPods } from './pods.ts';
import { Refusal, statusOf } from './status.ts';

/** What every node answers alike; any namespace too: see docs/apiserver-proxy.md. */
const DISCOVERY = new RegExp(`^/(?:version|api|apis|api/v1|api/v1/namespaces/${NAME})$`);
const PODS = new RegExp(`^/api/v1/(?:namespaces/${NAME}/)?pods$`);
const POD = new RegExp(`^/api/v1/namespaces/(${NAME})/pods/(${NAME})$`);
const EXEC = new RegExp(`^/api/v1/namespaces/${NAME}/pods/${NAME}/exec$`);

/** Go's limit: the arguments of a command travel in the request line. */
const MAX_HEADER_BYTES = 1024 * 1024;
/** Each may hold headers of that length before its caller is known. */
const MAX_CONNECTIONS = 1_024;
const HANDSHAKE_MS = 10_000;
/** How often Node looks whether headers are late; its own 30 s would make 40 of the 10. */
const HEADERS_CHECK_MS = 1_000;

export interface Proxy {
  readonly server: Server;
  /** Stops listening and closes every connection. */
  readonly stop: () => void;
}

/** The proxy that kubectl talks to, not listening yet. */
export function createProxy({ tls, callers, nodes }: Config): Proxy {
  const locator = new Locator(nodes);
  const lostNodes = new LostNodes();
  const sockets = new Set<Socket>();
  const server = createServer({
    ...tls,
    ALPNProtocols: ['http/1.1'], // an upgrade is a thing of HTTP/1.1
    secureOptions: constants.SSL_OP_NO_TICKET, // a resumed session carries the verdict on a certificate that may have expired
    requestCert: true,
    rejectUnauthorized: false, // who shows no certificate may show a token
    handshakeTimeout: HANDSHAKE_MS,
    headersTimeout: HANDSHAKE_MS,
    connectionsCheckingInterval: HEADERS_CHECK_MS,
    maxHeaderSize: MAX_HEADER_BYTES,
  });
  server.maxConnections = MAX_CONNECTIONS;
  /** `answer` is what the caller waits for: an answer, or its connection. */
  const askerOf = (request: IncomingMessage, answer: ServerResponse | Socket): Asker => {
    const caller = callers.identify(request);
    const gone = new AbortController();
    answer.once('close', () => gone.abort());
    return { caller, from: request.socket.remoteAddress ?? '', auditId: randomUUID(), gone: gone.signal };
  };

  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  /** Connections with a request that has no answer yet. No client pipelines; one that did could have thousands under way at all nodes. */
  const busy = new WeakSet<object>();
  server.on('request', (request, response) => {
    const { socket } = request;
    if (busy.has(socket)) {
      socket.destroy();
      return;
    }
    busy.add(socket);
    response.once('close', () => busy.delete(socket));
    answer(request, response).catch((cause: unknown) => {
      report(cause);
      const { code, body } = statusOf(cause);
      send(response, { status: code, body });
    });
  });
  server.on('upgrade', (request, client, head) => {
    // First of all: an error that nobody listens to ends the process.
    if (busy.has(client)) client.destroy();
    else if (client instanceof Socket) void handleUpgrade(request, client, head);
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const asker = askerOf(request, response);
    const { url = '', method } = request;
    const path = url.split('?', 1)[0] ?? '';
    if (EXEC.test(path)) throw new Refusal(400, 'Upgrade request required');
    const [, namespace, pod] = POD.exec(path) ?? [];
    if (pod === undefined && !PODS.test(path) && !DISCOVERY.test(path)) {
      throw new Refusal(404, 'the server could not find the requested resource');
    }
    if (method !== 'GET') throw new Refusal(405, 'the server does not allow this method on the requested resource');
    const ask = { ...asker, path: url, headers: { accept: request.headers.accept ?? 'application/json' } };
    if (PODS.test(path)) {
      send(response, await listPods(nodes, ask));
      return;
    }
    if (namespace === undefined || pod === undefined) {
      const first = Promise.any(nodes.map(node => get(node, ask)));
      const answer = await first.catch((cause: unknown) => {
        const causes = cause instanceof AggregateError ? (cause.errors as Error[]) : [];
        throw new Refusal(503, causes.map(({ message }) => message).join('; '));
      });
      send(response, answer);
      return;
    }
    const node = await locator.nodeOf(namespace, pod, asker);
    const answer = await get(node, ask).catch((cause: unknown) => {
      locator.forget(namespace, pod);
      throw cause;
    });
    if (answer.status === 404) locator.forget(namespace, pod);
    send(response, answer);
  }

  async function handleUpgrade(request: IncomingMessage, client: Socket, head: Buffer): Promise<void> {
    let asker: Asker | undefined;
    let handled: Handled;
    try {
      asker = askerOf(request, client);
      handled = await exec({ request, client, head }, asker, { locator, lostNodes });
    } catch (cause) {
      report(cause);
      handled = refuseWith(client, cause);
    }
    const { caller, from, auditId } = asker ?? {};
    const path = request.url?.split('?', 1)[0]; // not the query: that has the command
    console.log(JSON.stringify({ event: 'exec', path, user: caller?.user, from, auditId, ...handled }));
  }

  return {
    server,
    stop: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

interface Sent {
  readonly status: number;
  readonly body: string | Buffer;
  readonly headers?: IncomingHttpHeaders;
  /** kubectl prints them: `Warning: TEXT`. */
  readonly warnings?: readonly string[];
}

function send(response: ServerResponse, { status, body, headers = {}, warnings = [] }: Sent): void {
  response.statusCode = status;
  response.setHeader('content-type', headers['content-type'] ?? 'application/json');
  if (headers['retry-after'] !== undefined) response.setHeader('retry-after', headers['retry-after']);
  for (const warning of warnings) {
    const text = warning.replaceAll(/[^\x20-\x7e]+/g, ' ').replaceAll(/["\\]/g, '\\$&');
    response.appendHeader('warning', `299 - "${text}"`);
  }
  response.end(body);
}

/** Tells of mistakes of ours; a refusal is none. */
function report(cause: unknown): void {
  if (!(cause instanceof Refusal)) console.error(cause);
}
