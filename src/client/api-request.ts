import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { request as httpRequest } from '../node-http.ts';
import { ClientError } from './client-error.ts';
import { headersOf, urlOf, type Connection } from './connection.ts';
import { connectFailure, refusalOf } from './refusal.ts';

const DEADLINE_MS = 30_000;

export interface ApiRequest {
  readonly method?: 'GET' | 'DELETE';
  readonly accept?: string;
  readonly query?: URLSearchParams;
}

/**
 * Asks the daemon's API for JSON: one request on a connection of its own, to be answered within 30 seconds.
 *
 * @throws {ClientError} with one line that says what is wrong, for anything but a 200 with JSON
 */
export async function requestJson(
  connection: Connection,
  apiPath: string,
  { method = 'GET', accept = 'application/json', query }: ApiRequest = {},
): Promise<unknown> {
  const signal = AbortSignal.timeout(DEADLINE_MS);
  try {
    return await exchange(connection, urlOf(connection, apiPath, query), { method, accept, signal });
  } catch (error) {
    if (error instanceof ClientError) throw error;
    if (signal.aborted) {
      throw new ClientError(`${connection.server.origin} did not answer within ${DEADLINE_MS / 1000} seconds`);
    }
    throw connectFailure(error, connection);
  }
}

async function exchange(
  connection: Connection,
  url: URL,
  { method, accept, signal }: { method: string; accept: string; signal: AbortSignal },
): Promise<unknown> {
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  const headers = { ...headersOf(connection), accept };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    send(url, { ...connection.tls, method, headers, agent: false, signal })
      .on('response', resolve)
      .on('error', reject)
      .end();
  });
  if (response.statusCode !== 200) throw await refusalOf(response);
  const chunks: Buffer[] = [];
  for await (const chunk of response) if (Buffer.isBuffer(chunk)) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString('utf8');
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ClientError(`${url.href} answered with something that is not JSON: is it an execlet?`, { cause: error });
  }
}
