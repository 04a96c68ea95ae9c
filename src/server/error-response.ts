import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { ExecletError } from '../errors.ts';
import { statusBody } from '../kubeapi/status-body.ts';
import { STATUS_CODES } from '../node-http.ts';
import type { PathForm } from './exec-request.ts';
import { SPDY_PROTOCOLS } from '../remotecommand/protocol.ts';

const DESTROY_AFTER_MS = 1_000;

/** An answer that closes its connection. */
export interface ErrorResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | number | string[]>>;
  readonly body: string;
}

/** The form in which a request expects its errors. */
export function formOf({ url = '' }: IncomingMessage): PathForm {
  return /^\/(api|apis|openapi)([/?]|$)/.test(url) ? 'api' : 'kubelet';
}

/** What is answered for a path that is none of ours, in the kubelet's words or the API server's. */
export function notFound(incoming: IncomingMessage): ExecletError {
  const api = formOf(incoming) === 'api';
  return new ExecletError(
    'HandlerNotFound',
    api ? 'the server could not find the requested resource' : '404: Page Not Found',
  );
}

/** The one translation of a failure before the upgrade. `extra` adds headers that the kind of refusal calls for. */
export function errorResponse(
  cause: unknown,
  form: PathForm,
  extra: Record<string, string | string[]> = {},
): ErrorResponse {
  const error = ExecletError.from(cause);
  const asText = form === 'kubelet' || error.message === ''; // an empty message is the kubelet's empty body
  const body = asText ? error.message : JSON.stringify(statusBody(error.httpStatus, error.statusReason, error.message));
  return {
    status: error.httpStatus,
    headers: {
      'Content-Type': asText ? 'text/plain; charset=utf-8' : 'application/json',
      'X-Content-Type-Options': 'nosniff',
      ...(error.code === 'TooManySessions' && { 'Retry-After': String(error.retryAfterSeconds ?? 1) }),
      ...(error.code === 'MethodNotAllowed' && { Allow: 'GET, POST' }),
      ...extra,
      'Content-Length': Buffer.byteLength(body),
      Connection: 'close', // an upgrade that was refused never goes on
    },
    body,
  };
}

/** What a client of each transport needs beside the text when a handshake is refused. */
export function handshakeHeaders(
  error: ExecletError,
  transport: 'spdy' | 'websocket',
): Record<string, string | string[]> {
  if (transport === 'spdy' && error.code === 'NoCommonProtocol') {
    return { 'X-Accepted-Stream-Protocol-Versions': SPDY_PROTOCOLS.map(({ name }) => name) };
  }
  if (transport === 'websocket' && error.code === 'BadExecRequest') return { 'Sec-WebSocket-Version': '13' };
  return {};
}

/** Answers on an express response. */
export function sendError(response: ServerResponse, cause: unknown, form: PathForm): void {
  const { status, headers, body } = errorResponse(cause, form);
  response.writeHead(status, headers);
  response.end(body);
}

/** Answers on the bare socket, of an upgrade or of what was no request, and closes it. */
export function refuseConnection(socket: Duplex, { status, headers, body }: ErrorResponse): void {
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map(one => `${name}: ${one}\r\n`),
  );
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines.join('')}\r\n${body}`);
  destroyWhenSent(socket);
}

/**
 * Closes a socket that has been ended with an answer: when the peer closes too, or after a second. What the peer still sends is
 * read and dropped: unread bytes at close would make the kernel reset the connection and take the answer with it.
 */
function destroyWhenSent(socket: Duplex): void {
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), DESTROY_AFTER_MS);
  socket.once('close', () => clearTimeout(timer));
}
