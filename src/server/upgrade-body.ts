import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { ExecletError } from '../errors.ts';

const EMPTY_CHUNKED_BODY = Buffer.from('0\r\n\r\n');
const WAIT_MS = 5_000;

/**
 * What the client sent behind its upgrade request, without the request's own, empty, body.
 *
 * Node hands a request body over as if it were the upgraded protocol's. Go clients send none, one of `Content-Length: 0`, or
 * an empty chunked one, which may even arrive later. A body with content is refused.
 *
 * @throws {ExecletError} BadExecRequest
 */
export async function bodyOfUpgrade({ headers }: IncomingMessage, socket: Duplex, head: Buffer): Promise<Buffer> {
  if (Number(headers['content-length'] ?? 0) !== 0)
    throw new ExecletError('BadExecRequest', 'an upgrade request may not have a body');
  if (headers['transfer-encoding'] === undefined) return head;
  const received = head.length >= EMPTY_CHUNKED_BODY.length ? head : await readMore(socket, head);
  if (!received.subarray(0, EMPTY_CHUNKED_BODY.length).equals(EMPTY_CHUNKED_BODY)) {
    throw new ExecletError('BadExecRequest', 'an upgrade request may not have a body');
  }
  return received.subarray(EMPTY_CHUNKED_BODY.length);
}

/** Reads until the empty body is complete; whatever the socket gave beyond it is in the result too. */
function readMore(socket: Duplex, head: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let received = head;
    const done = (settle: () => void): void => {
      clearTimeout(timer);
      socket.off('data', take).off('close', gone).pause();
      settle();
    };
    const take = (chunk: Buffer): void => {
      received = Buffer.concat([received, chunk]);
      if (received.length >= EMPTY_CHUNKED_BODY.length) done(() => resolve(received));
    };
    const gone = (): void =>
      done(() => reject(new ExecletError('BadExecRequest', 'the body of the upgrade request did not arrive')));
    const timer = setTimeout(gone, WAIT_MS);
    socket.on('data', take).on('close', gone);
  });
}
