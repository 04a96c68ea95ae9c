import { once } from 'node:events';
import type { IncomingMessage, RequestListener, Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { ExecletError } from '../errors.ts';
import { createServer } from '../node-http.ts';
import { Attempt, pathOf } from './attempt.ts';
import { errorResponse, formOf, notFound, refuseConnection, sendError, type ErrorResponse } from './error-response.ts';
import { isHealthPath } from './health.ts';
import { isLoopbackHost } from './origin.ts';
import { Pipelining } from './pipelining.ts';
import type { Refusals } from './refusals.ts';
import type { TlsCredentials } from './tls.ts';
import { takesUpgrade, type ExecService } from './upgrade.ts';

/** Long commands travel in the request line; the kubelet's limit. */
const MAX_HEADER_BYTES = 1024 * 1024;
/** From the connection, or the request before, to the last header. */
const HEADERS_TIMEOUT_MS = 10_000;
/** The same to the end of a body, which nobody here waits for. */
const REQUEST_TIMEOUT_MS = 15_000;
/** How often Node looks for requests that are late: by default only every 30 s. */
const TIMEOUT_CHECK_INTERVAL_MS = 1_000;
/** Requests of one connection that wait for their answers. */
const MAX_PIPELINED = 16;
/** The kernel counts the time until its first keepalive probe in seconds, and takes no 0. */
const MIN_KEEPALIVE_DELAY_MS = 1_000;

/**
 * Beyond the limit of connections, for health checks and to tell the others why they are refused; what comes beyond that is closed at
 * once. None of them stays: who sends nothing is late after 10 s.
 */
const CROWD_CONNECTIONS = 128;

/** What is answered to bytes that are no request. */
const MALFORMED = refusal(400, 'this is no HTTP request');
const REFUSED_BYTES: ReadonlyMap<string, ErrorResponse> = new Map([
  ['HPE_HEADER_OVERFLOW', refusal(431, 'the request line and headers are longer than 1 MiB, or too many')],
  ['ERR_HTTP_REQUEST_TIMEOUT', refusal(408, 'the request did not arrive in time')],
]);

export interface ListenOptions {
  readonly address: string;
  readonly port: number;
  /** The address is believed to be loopback: anything else that it turns out to be is an error. */
  readonly loopbackOnly: boolean;
  /** How long a connection is silent before the kernel looks whether its peer is there: ten times, a second apart. */
  readonly keepaliveIntervalMs: number;
  readonly tls: Pick<TlsCredentials, 'createServer'> | undefined;
  /** Sessions included. While there are more, only health checks are answered. */
  readonly maxConnections: number;
  readonly routes: RequestListener;
  readonly exec: Pick<ExecService, 'upgrade'>;
  readonly refusals: Pick<Refusals, 'record'>;
}

/** The listener and every connection that came in through it. */
export interface ExecServer {
  readonly address: string;
  readonly port: number;
  /** Accepts no more connections and closes those that are no sessions. */
  close(): void;
  /** Destroys what is left, sessions too. */
  destroy(): void;
}

/** Starts to listen. Rejects with the listen error (EADDRINUSE, EACCES …). */
export async function listen(listenOptions: ListenOptions): Promise<ExecServer> {
  const { address, port, loopbackOnly, keepaliveIntervalMs, tls, maxConnections, routes, exec, refusals } =
    listenOptions;
  const options = {
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionsCheckingInterval: TIMEOUT_CHECK_INTERVAL_MS,
    shouldUpgradeCallback: takesUpgrade,
    keepAlive: true,
    keepAliveInitialDelay: Math.max(MIN_KEEPALIVE_DELAY_MS, keepaliveIntervalMs),
  };
  const pipelining = new Pipelining({ maxUnanswered: MAX_PIPELINED });
  const sockets = new Set<Socket>();
  const crowded = (request: IncomingMessage): ExecletError | undefined => {
    if (sockets.size <= maxConnections || isHealthPath(pathOf(request))) return undefined;
    const text = `too many connections: ${maxConnections} are open, and --max-connections allows no more`;
    const error = new ExecletError('TooManySessions', text);
    refusals.record(new Attempt(request, 'limit'), error);
    return error;
  };
  const answer: RequestListener = (request, response) => {
    if (!pipelining.takesRequest(request, response)) return;
    const error = crowded(request);
    if (error !== undefined) {
      sendError(response, error, formOf(request));
      return;
    }
    // A target that is no path, such as a proxy's absolute form, names nothing here; express would warn of it, query and all.
    if (request.url?.startsWith('/') === true) routes(request, response);
    else sendError(response, notFound(request), 'kubelet');
  };
  const server: Server = tls === undefined ? createServer(options, answer) : tls.createServer(options, answer);

  server.maxConnections = maxConnections + CROWD_CONNECTIONS;
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => undefined); // first: without it a client that resets here would end the process
    if (!pipelining.takesUpgrade(socket)) return;
    const error = crowded(request);
    if (error === undefined) void exec.upgrade(request, socket, head);
    else refuseConnection(socket, errorResponse(error, formOf(request)));
  });
  // Without a listener Node would close the connection and say nothing.
  server.on('connect', (_request, socket) => {
    socket.on('error', () => undefined);
    const error = new ExecletError('MethodNotAllowed', '405: Method Not Allowed');
    refuseConnection(socket, errorResponse(error, 'kubelet'));
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (!socket.writable) return; // what still comes behind bytes that were refused is no request either
    refuseConnection(socket, REFUSED_BYTES.get(error.code ?? '') ?? MALFORMED);
  });

  server.listen(port, address);
  await once(server, 'listening');
  const bound = server.address() as AddressInfo;
  // Judged by what was bound and not by its name: what the settings allow on loopback must not be reachable from elsewhere.
  if (loopbackOnly && !isLoopbackHost(bound.family === 'IPv6' ? `[${bound.address}]` : bound.address)) {
    server.close();
    throw new Error(`${address} is ${bound.address}, which is not a loopback address`);
  }
  return {
    address: bound.address,
    port: bound.port,
    close: () => {
      server.close();
      server.closeIdleConnections();
    },
    destroy: () => {
      for (const socket of sockets) socket.destroy();
    },
  };
}

function refusal(status: number, body: string): ErrorResponse {
  const headers = {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': Buffer.byteLength(body),
    Connection: 'close',
  };
  return { status, headers, body };
}
