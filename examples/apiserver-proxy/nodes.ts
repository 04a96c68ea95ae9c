import { once } from 'node:events';
import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import type { Caller } from './callers.ts';
import { Refusal } from './status.ts';

/** A node is in the same network, so whoever is there accepts a connection at once. */
const CONNECT_MS = 3_000;
/** One that hangs holds up who looks for a pod. */
const GET_MS = 10_000;
/** Longer than a node may wait for the API server's word on who asks and what they may (execlet: 10 s each). */
const UPGRADE_MS = 30_000;
const MAX_BODY_BYTES = 64 * 1024 * 1024;

export interface Node {
  readonly name: string;
  readonly url: URL;
  /** Who vouches for the node, and what the proxy identifies itself with. */
  readonly tls: { readonly ca: Buffer; readonly cert: Buffer; readonly key: Buffer };
}

/** A request to a node: what the caller asked, and on whose behalf. */
export interface Ask {
  readonly method: 'GET' | 'POST';
  /** With the query. */
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  readonly caller: Caller;
  /** The caller's address. */
  readonly from: string;
  /** One for each request of a caller, to find it in the logs of all nodes. */
  readonly auditId: string;
  /** Aborts when the caller has gone. */
  readonly gone: AbortSignal;
}

/** An answer with its body. */
export interface Answer {
  readonly node: Node;
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** A connection that has been switched to what was asked for. `socket` already has an error listener. */
export interface Upgraded {
  readonly node: Node;
  readonly headers: IncomingHttpHeaders;
  readonly socket: Socket;
  /** What came behind the 101. */
  readonly head: Buffer;
}

/**
 * Sends a request that asks for no upgrade.
 *
 * @throws {Refusal} as `ask` does, and `notPassedOn`
 */
export async function get(node: Node, request: Omit<Ask, 'method'>): Promise<Answer> {
  const answer = await ask(node, { ...request, method: 'GET' });
  if ('status' in answer && (answer.status === 200 || answer.status >= 400)) return answer;
  if ('socket' in answer) answer.socket.destroy();
  throw notPassedOn(node, 'status' in answer ? answer.status : 101);
}

/** For an answer that makes no sense, above all a redirect: a client might follow it, and show its credential where that leads. */
export function notPassedOn({ name }: Node, status: number): Refusal {
  return new Refusal(503, `node ${name} gave an answer that is not passed on: ${status}`);
}

/** The message of an answer's Status, or its text where it is none. */
export function messageOf(body: Buffer | string): string {
  const text = body.toString();
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    if (typeof message === 'string') return message;
  } catch {
    // No Status: the text says it.
  }
  return text.slice(0, 1_000);
}

/**
 * Sends one request over a connection of its own.
 *
 * Of a caller's headers only those in `headers` reach the node, and the identity is written here: whatever else a caller sends, such
 * as X-Remote-User, gets nowhere. A redirect is an answer like any other: it is never followed.
 *
 * @throws {Refusal} 503 that names the node when it cannot be reached or does not answer in time
 */
export async function ask(
  node: Node,
  { method, path, headers, caller, from, auditId, gone }: Ask,
): Promise<Answer | Upgraded> {
  const request = httpsRequest({
    host: node.url.hostname.replace(/^\[|\]$/g, ''),
    port: node.url.port || 443,
    ...node.tls,
    agent: false,
    signal: gone,
    method,
    path,
    headers: {
      ...headers,
      'X-Remote-User': headerText(caller.user),
      'X-Remote-Group': caller.groups.map(headerText),
      ...Object.fromEntries(
        Object.entries(caller.extra).map(([key, values]) => [
          `X-Remote-Extra-${encodeURIComponent(key)}`,
          values.map(headerText),
        ]),
      ),
      'X-Forwarded-For': from,
      'Audit-ID': auditId,
    },
  });
  const within = (ms: number, what: string): NodeJS.Timeout =>
    setTimeout(() => request.destroy(new Error(`${what} within ${ms / 1_000} s`)), ms);
  let deadline = within(CONNECT_MS, 'no connection');
  request.once('socket', socket =>
    socket.once('secureConnect', () => {
      clearTimeout(deadline);
      deadline = within(headers.upgrade === undefined ? GET_MS : UPGRADE_MS, 'no answer');
    }),
  );
  try {
    const answer = new Promise<Answer | Upgraded>((resolve, reject) => {
      request.once('upgrade', (response: IncomingMessage, socket: Socket, head: Buffer) => {
        socket.on('error', () => undefined); // it is closed then, which is what the relay looks at
        resolve({ node, headers: response.headers, socket, head });
      });
      const closed = (): void => reject(new Error('the connection was closed'));
      request.once('close', closed);
      request.once('response', response => {
        request.off('close', closed); // which may come before the last of the body has been taken
        const { statusCode: status = 0 } = response;
        // Whom the node does not know is the proxy. To the caller a 401 would say that their own credential is wrong.
        if (status === 401) reject(new Error('it does not accept the credential of this proxy'));
        bodyOf(response).then(body => resolve({ node, status, headers: response.headers, body }), reject);
      });
      request.on('error', reject);
    });
    request.end();
    return await answer;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Refusal(503, `node ${node.name} does not answer: ${why}`, { cause });
  } finally {
    clearTimeout(deadline);
  }
}

async function bodyOf(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  response.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    length += chunk.length;
    if (length > MAX_BODY_BYTES) response.destroy(new Error(`more than ${MAX_BODY_BYTES} bytes of answer`));
  });
  await once(response, 'end');
  return Buffer.concat(chunks);
}

/** UTF-8, as Go sends and reads headers; Node writes each character as one byte. */
function headerText(text: string): string {
  return Buffer.from(text).toString('latin1');
}
