import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';

/**
 * Closes at once, so that the peer does not take it for a regular end: over TCP by a reset, over TLS without its closing alert (Node can
 * reset no TLS socket).
 */
export function resetConnection(socket: Duplex): void {
  if (!(socket instanceof Socket) || socket instanceof TLSSocket || socket.destroyed) {
    socket.destroy();
    return;
  }
  // While our FIN is on its way to the kernel, for one turn of the event loop, libuv resets nothing (EINVAL), and Node would neither close
  // the socket then nor say so.
  const ending = socket.writableEnded && !socket.writableFinished && socket.writableLength === 0;
  if (ending) socket.once('finish', () => resetConnection(socket));
  else socket.resetAndDestroy();
}
