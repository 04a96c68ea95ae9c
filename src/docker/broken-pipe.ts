import type { Socket } from 'node:net';

type WriteCallback = (error?: Error | null) => void;

/**
 * Makes the socket take a broken pipe as the end of what it may write, not as its own end.
 *
 * A command may exit while its client still sends input (`head -1 < big`). The Engine then closes its side, and our next
 * write fails with EPIPE while the tail of the output is still waiting in the kernel. Node would destroy the socket, and the
 * tail with it: so the failure is kept from its stream machinery, and reading goes on to the end.
 */
export function keepReadingAfterBrokenPipe(socket: Socket): void {
  const write = socket._write.bind(socket);
  const writev = socket._writev?.bind(socket);
  socket._write = (chunk: unknown, encoding: BufferEncoding, callback: WriteCallback) =>
    write(chunk, encoding, error => callback(isBrokenPipe(error) ? null : error));
  if (writev !== undefined) {
    socket._writev = (chunks, callback) => writev(chunks, error => callback(isBrokenPipe(error) ? null : error));
  }
}

/** The other side has stopped reading: EPIPE, or ECONNRESET where it left bytes of ours unread. */
export function isBrokenPipe(error: Error | null | undefined): boolean {
  const code = (error as NodeJS.ErrnoException | null | undefined)?.code;
  return code === 'EPIPE' || code === 'ECONNRESET';
}
