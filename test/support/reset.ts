import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/**
 * Sends a TCP RST and forgets what was under way, as a client does that crashes.
 *
 * Once a socket has sent its FIN, libuv refuses to reset it and Node takes no notice: the handle would never be closed, and this process
 * would turn in circles when it should end. Such a socket is closed without a word.
 */
export function reset(socket: Duplex): void {
  if (socket instanceof Socket && !socket.writableEnded) socket.resetAndDestroy();
  else socket.destroy();
}
