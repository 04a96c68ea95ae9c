import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from '../node-http.ts';
import { pathOf } from './attempt.ts';
import type { Exposition } from './exposition.ts';
import { Pipelining } from './pipelining.ts';

/** Two Prometheus servers need two; whoever finds them all taken waits for one of the time-outs below. */
const MAX_CONNECTIONS = 32;
/** From the connection, or the scrape before, to the last header. */
const HEADERS_TIMEOUT_MS = 5_000;
/** The same to the end of a body, which nobody here waits for. */
const REQUEST_TIMEOUT_MS = 10_000;
/** Without a byte in either direction: a scraper that does not take its answer. */
const IDLE_TIMEOUT_MS = 10_000;
/** After a scrape, for the next one of an impatient scraper. */
const KEEP_ALIVE_TIMEOUT_MS = 5_000;
/** How often Node looks for requests that are late. */
const TIMEOUT_CHECK_INTERVAL_MS = 1_000;
const MAX_HEADER_BYTES = 16 * 1024;

export interface MetricsListenerOptions {
  readonly host: string;
  readonly port: number;
  /** What is answered to a scraper with that `Accept` header. */
  readonly scrape: (accept: string | undefined) => Promise<Exposition>;
}

/** A listener that serves the metrics and nothing else. */
export interface MetricsListener {
  readonly address: string;
  readonly port: number;
  /** Ends every connection, a scrape under way too. */
  close(): void;
}

/** Serves `/metrics` over plain HTTP to everybody. Rejects with the listen error (EADDRINUSE, EACCES …). */
export async function listenForMetrics({ host, port, scrape }: MetricsListenerOptions): Promise<MetricsListener> {
  const options = {
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    connectionsCheckingInterval: TIMEOUT_CHECK_INTERVAL_MS,
  };
  const pipelining = new Pipelining({ maxUnanswered: 1 }); // each scrape takes some milliseconds, of everybody's
  const server = createServer(options, (request, response) => {
    if (!pipelining.takesRequest(request, response)) return;
    const isScrape = pathOf(request) === '/metrics' && ['GET', 'HEAD'].includes(request.method ?? '');
    if (!isScrape) {
      response.writeHead(404, { 'Content-Type': 'text/plain; charset=utf-8' }).end('404 page not found\n');
      return;
    }
    scrape(request.headers.accept).then(
      ({ contentType, text }) => {
        response.writeHead(200, { 'Content-Type': contentType, 'Content-Length': Buffer.byteLength(text) }).end(text);
      },
      (cause: unknown) => response.writeHead(500, { 'Content-Type': 'text/plain; charset=utf-8' }).end(String(cause)),
    );
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.timeout = IDLE_TIMEOUT_MS;
  server.listen(port, host);
  await once(server, 'listening');
  const bound = server.address() as AddressInfo;
  return {
    address: bound.address,
    port: bound.port,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
