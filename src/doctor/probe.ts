import type { ClientRequest, IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { request as httpRequest } from '../node-http.ts';

const TIMEOUT_MS = 5_000;
/** Nobody's list of checks is longer. */
const MAX_BODY_BYTES = 64 * 1024;

export type Scheme = 'http' | 'https';

/** Who listens: nobody, an execlet with the checks of its that fail, or somebody else. */
export type Listener =
  | { readonly kind: 'nobody' }
  | { readonly kind: 'execlet'; readonly problems: readonly string[] }
  | { readonly kind: 'other'; readonly what: string };

/**
 * Asks as a probe does, without a credential, so the certificate is not looked at: what is there may not be ours.
 *
 * Only execlet's `/readyz` has a check `registry` beside `engine`.
 */
export async function probe({ scheme, host, port }: { scheme: Scheme; host: string; port: number }): Promise<Listener> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const options = { host, port, path: '/readyz?verbose', agent: false, signal } as const;
  try {
    const request = scheme === 'https' ? httpsRequest({ ...options, rejectUnauthorized: false }) : httpRequest(options);
    const response = await answerTo(request);
    const body = await startOf(response);
    const isExeclet = ['engine', 'registry'].every(name => new RegExp(`^\\[[+-]\\]${name} `, 'm').test(body));
    if (!isExeclet) return { kind: 'other', what: `it answers ${response.statusCode ?? 0}` };
    const failed = body.split('\n').filter(line => line.startsWith('[-]'));
    return { kind: 'execlet', problems: failed.map(line => line.slice('[-]'.length)) };
  } catch (cause) {
    if (signal.aborted) return { kind: 'other', what: `no answer within ${TIMEOUT_MS / 1_000} s` };
    const { code = '', message } = cause as NodeJS.ErrnoException;
    return code === 'ECONNREFUSED' ? { kind: 'nobody' } : { kind: 'other', what: code === '' ? message : code };
  }
}

/** Sends the request, without a body. */
export function answerTo(request: ClientRequest): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  request.on('response', resolve).on('error', reject).end();
  return promise;
}

/**
 * The body, or the beginning of one that is no list of checks. Whoever listens there may not be ours: it may never end, and must not
 * steer the terminal that it is shown on.
 */
export async function startOf(response: IncomingMessage): Promise<string> {
  const received: AsyncIterable<Buffer> = response;
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of received) {
    pieces.push(piece);
    length += piece.length;
    if (length > MAX_BODY_BYTES) break;
  }
  return Buffer.concat(pieces)
    .toString()
    .replaceAll(/[^\P{Cc}\n]/gu, '?');
}
