import type { IncomingMessage } from 'node:http';
import { addAbortSignal } from 'node:stream';
import { z } from 'zod';
import { ClientError, messageOf } from './client-error.ts';
import type { Connection } from './connection.ts';

/** More than any Status of an API server; the rest of a longer body is left unread. */
const MAX_BODY_BYTES = 64 * 1024;
const BODY_DEADLINE_MS = 5_000;

const failureBody = z.union([
  z.object({ message: z.string().min(1) }).transform(({ message }) => message),
  z.object({ error: z.string().min(1) }).transform(({ error }) => error),
]);

/** The failure that a server's answer means: its own message, and for 401 and 403 what one may do about it. */
export async function refusalOf(response: IncomingMessage): Promise<ClientError> {
  const { statusCode: code = 0, statusMessage = '' } = response;
  const message = messageIn(await bodyStart(response));
  const answer = `the server answered ${`${code} ${statusMessage}`.trim()}`;
  const withReason = message === '' ? answer : `${answer}: ${message}`;
  if (code < 400) return new ClientError(`${answer}, which is no answer to this request: is it an execlet?`);
  if (code === 401) {
    return new ClientError(`${withReason} (say who you are: --token, --client-certificate or --kubeconfig)`);
  }
  // An authenticating proxy's 403 may be as short as "denied". Elsewhere the message says enough by itself.
  if (code === 403 || message === '') return new ClientError(withReason);
  return new ClientError(message);
}

/** The `message` of a Status, or the text of a body that is none. */
export function messageIn(body: string): string {
  try {
    return failureBody.parse(JSON.parse(body));
  } catch {
    return body.trim(); // plain text, as the kubelet answers
  }
}

async function bodyStart(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    addAbortSignal(AbortSignal.timeout(BODY_DEADLINE_MS), response);
    for await (const chunk of response) {
      if (!Buffer.isBuffer(chunk)) continue;
      chunks.push(chunk);
      length += chunk.length;
      if (length >= MAX_BODY_BYTES) break;
    }
  } catch {
    // Cut off, or never ended: the part that came is the best explanation there is.
  }
  return Buffer.concat(chunks).toString('utf8');
}

const CA_HINT = ' (--certificate-authority names the CA to trust)';

const EXPLANATIONS = new Map<string, (said: string) => string>([
  ['ECONNREFUSED', () => 'nothing listens there: is `execlet serve` running? (--server says where)'],
  ['ECONNRESET', () => 'the connection was reset (does the server speak TLS? then --server https://…)'],
  ['EPROTO', () => 'no TLS (does the server speak plain HTTP? then --server http://…)'],
  ['ENOTFOUND', () => 'no such host'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', said => said + CA_HINT],
  ['SELF_SIGNED_CERT_IN_CHAIN', said => said + CA_HINT],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', said => said + CA_HINT],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', said => said + CA_HINT],
  ['ERR_TLS_CERT_ALTNAME_INVALID', said => `${said.trim()} (--tls-server-name says which name to expect)`],
]);

/** The failure to get any answer: Node's error, and for the usual ones what to try. */
export function connectFailure(error: unknown, { server }: Connection): ClientError {
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
  const said = messageOf(error);
  const why = EXPLANATIONS.get(code)?.(said) ?? said;
  return new ClientError(`cannot reach ${server.origin}: ${why}`, { cause: error });
}
