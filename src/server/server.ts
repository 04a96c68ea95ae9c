import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { RequestListener } from 'node:http';
import { destroyWhenSent } from './error-response.ts';
import { isLoopbackHost } from './origin.ts';
import { takesUpgrade, type ExecService } from './upgrade.ts';

/** Long commands travel in the request line; the kubelet's limit. */
const MAX_HEADER_BYTES = 1024 * 1024;
const HEADERS_TIMEOUT_MS = 30_000;

export interface ListenOptions {
  readonly address: string;
  readonly port: number;
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined;
  readonly routes: RequestListener;
  readonly exec: ExecService;
}

/** The listener and every connection that came in through it. */
export interface ExecServer {
  readonly address: string;
  readonly port: number;
  /** Accepts no more connections and closes those that are no sessions. */
  close(): void;
  /** Destroys what is left, sessions too. */
  destroy(): void;
}

/** Starts to listen. Rejects with the listen error (EADDRINUSE, EACCES …), or when a TLS file cannot be used. */
export async function listen({ address, port, tls, routes, exec }: ListenOptions): Promise<ExecServer> {
  const options = {
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: HEADERS_TIMEOUT_MS,
    shouldUpgradeCallback: takesUpgrade,
  };
  const server: Server =
    tls === undefined
      ? createHttpServer(options, routes)
      : createHttpsServer(
          {
            ...options,
            cert: await readFile(tls.certFile),
            key: await readFile(tls.keyFile),
            ALPNProtocols: ['http/1.1'],
          },
          routes,
        );

  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => undefined); // first: without it a client that resets here would end the process
    void exec.upgrade(request, socket, head);
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    const status = error.code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request';
    socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    destroyWhenSent(socket);
  });

  server.listen(port, address);
  await once(server, 'listening');
  const bound = server.address() as AddressInfo;
  // Judged by what was bound and not by its name: until callers can be authenticated, nothing else may be reachable.
  if (!isLoopbackHost(bound.family === 'IPv6' ? `[${bound.address}]` : bound.address)) {
    server.close();
    throw new Error(`${address} is ${bound.address}, which is not a loopback address`);
  }
  return {
    address: bound.address,
    port: bound.port,
    close: () => {
      server.close();
      server.closeIdleConnections();
    },
    destroy: () => {
      for (const socket of sockets) socket.destroy();
    },
  };
}
