import { Agent, request as httpsRequest, type RequestOptions } from 'node:https';
import type { IncomingMessage } from 'node:http';

/** What shows the API server who we are, and us that it is the API server. */
export type TlsIdentity = Pick<RequestOptions, 'ca' | 'cert' | 'key' | 'servername'>;

export interface ReviewRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly tls: TlsIdentity;
  /** Ends the request, whatever state it is in. */
  readonly signal: AbortSignal;
}

export interface ReviewResponse {
  readonly status: number;
  readonly contentType?: string;
  /** The server's `Date`, which has whole seconds. */
  readonly date?: string;
  readonly body: string;
}

/** An answer longer than any review. */
export class AnswerTooLong extends Error {}

/** The API server had closed the kept connection before it saw the request on it: nothing is wrong. */
export class StaleConnection extends Error {}

const MAX_ANSWER_BYTES = 1024 * 1024;
const MAX_IDLE_SOCKETS = 8;
// An API server closes a quiet connection after 90 s: ours should not be about to be closed when they are used.
const IDLE_SOCKET_MS = 60_000;

/**
 * POSTs to the API server over connections that are kept, in the place of client-node's own transport.
 *
 * That one makes an agent for each request, and with it a TLS handshake and a socket that stays for a while; it follows
 * redirects, and would take the token in the body to wherever a 307 points; and it reads answers of any length.
 */
export class ReviewTransport {
  // Node keeps connections apart by certificates and authorities, so files that were renewed are used from the next request on.
  // Sockets have no bound here but in AnswerCache: a request that waits for one would throw its faulty certificate out of an
  // event, where nobody catches it.
  readonly #agent = new Agent({
    keepAlive: true,
    maxFreeSockets: MAX_IDLE_SOCKETS,
    timeout: IDLE_SOCKET_MS,
  });

  /** Rejects with what Node says of the connection, with AnswerTooLong or StaleConnection. A redirect is an answer like any other. */
  async post({ url, headers, body, tls, signal }: ReviewRequest): Promise<ReviewResponse> {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = httpsRequest(url, {
        ...tls,
        rejectUnauthorized: true,
        method: 'POST',
        headers: { ...headers, 'Content-Length': Buffer.byteLength(body) },
        agent: this.#agent,
        signal,
      });
      request.on('response', resolve);
      request.on('error', error => reject(request.reusedSocket && !signal.aborted ? new StaleConnection() : error));
      // A 101 that nobody asked for ends the request with neither of the two.
      request.on('close', () => reject(Object.assign(new Error('closed before an answer'), { code: 'ECONNRESET' })));
      request.end(body);
    });
    // Read to the end also where the status tells all: only then is the connection kept.
    const received: AsyncIterable<Buffer> = response;
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of received) {
      length += chunk.length;
      if (length > MAX_ANSWER_BYTES) throw new AnswerTooLong();
      chunks.push(chunk);
    }
    const { 'content-type': contentType, date } = response.headers;
    return {
      status: response.statusCode ?? 0,
      ...(date !== undefined && { date }),
      ...(contentType !== undefined && { contentType }),
      body: Buffer.concat(chunks).toString(),
    };
  }

  /** Ends all connections, and the requests on them. */
  close(): void {
    this.#agent.destroy();
  }
}
