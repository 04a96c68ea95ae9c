import { once } from 'node:events';
import type { AddressInfo, Server } from 'node:net';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';

/** Where a server of the test listens, once it does; on loopback, and on a free port. */
export async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/**
 * A TLS connection to a server on loopback, its handshake done. Rejects when that fails; with TLS 1.3 a server may still refuse
 * the client's certificate afterwards. Trusts everybody unless `ca` is given.
 */
export async function handshake(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: options.ca !== undefined, ...options });
  try {
    await once(socket, 'secureConnect');
  } catch (cause) {
    socket.destroy();
    throw cause;
  }
  return socket;
}
