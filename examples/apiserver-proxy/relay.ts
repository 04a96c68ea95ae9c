import type { Socket } from 'node:net';
import { PassThrough, type Transform } from 'node:stream';

const KEEPALIVE_MS = 15_000;
/** As long as the session itself may be idle: a client that has paused its reader still has output to fetch. */
const LINGER_MS = 4 * 60 * 60 * 1_000;
/** For a node that is told that its client has gone. */
const LEAVE_MS = 10_000;

export interface Relay {
  readonly client: Socket;
  readonly node: Socket;
  /** Goes over what the node sends, and may add to its end. */
  readonly fromNode?: Transform;
}

/**
 * Copies both ways until both connections are closed; each side waits while the other is slow to read. There is no limit to how
 * long that may take: a session may be silent for hours. A host that is lost is found by TCP keepalive.
 *
 * The ends are not alike. When the client has gone, so has the session. When the node has ended, what it sent is still on its way
 * to the client, and nothing may be left unread there: the kernel answers unread input with a reset, which takes the output along.
 */
export async function relay({ client, node, fromNode = new PassThrough() }: Relay): Promise<void> {
  for (const socket of [client, node]) {
    socket.setTimeout(0);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEPALIVE_MS);
  }
  client.pipe(node);
  node.pipe(fromNode).pipe(client);
  onceClosed(node, () => fromNode.end()); // also after an error, which ends no pipe
  fromNode.once('error', () => client.destroy());
  fromNode.once('end', () => {
    client.unpipe(node);
    client.resume();
    destroyAfter(LINGER_MS, client);
  });
  onceClosed(client, () => {
    node.unpipe(fromNode);
    node.resume();
    node.end();
    destroyAfter(LEAVE_MS, node);
  });
  await Promise.all([client, node].map(socket => new Promise<void>(resolve => onceClosed(socket, resolve))));
}

function destroyAfter(ms: number, socket: Socket): void {
  const timer = setTimeout(() => socket.destroy(), ms);
  onceClosed(socket, () => clearTimeout(timer));
}

/** Also for a socket that has been closed already, such as a client's that did not wait for the node's answer. */
function onceClosed(socket: Socket, then: () => void): void {
  if (socket.closed) then();
  else socket.once('close', () => then());
}
