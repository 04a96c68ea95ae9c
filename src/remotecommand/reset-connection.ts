import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';

/**
 * Closes at once, so that the peer does not take it for a regular end: over TCP by a reset, over TLS without its closing alert (Node can
 * reset no TLS socket).
 */
export function resetConnection(socket: Duplex): void {
  if (socket instanceof Socket && !(socket instanceof TLSSocket) && !socket.destroyed) socket.resetAndDestroy();
  else socket.destroy();
}
