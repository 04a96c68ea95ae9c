import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Issued } from './authority.ts';
import { reset } from './reset.ts';

/** Where a server listens on the loopback address. */
export interface Endpoint {
  readonly port: number;
  readonly host?: string;
  /** Speaks TLS and trusts this certificate (PEM), and no other. */
  readonly ca?: string;
  /** What it identifies itself with there. */
  readonly certificate?: Issued | undefined;
}

/** A connection, and the way to break it off. */
export interface Dialled {
  readonly socket: Socket;
  readonly reset: () => void;
}

/** Connects; over TLS the handshake is done when this resolves. */
export async function dial({ port, host = '127.0.0.1', ca, certificate }: Endpoint): Promise<Dialled> {
  const tcp = connectTcp({ host, port });
  await once(tcp, 'connect');
  tcp.setNoDelay(true);
  if (ca === undefined) return { socket: tcp, reset: () => reset(tcp) };
  const tls = connectTls({ socket: tcp, host, ca, ...certificate });
  await once(tls, 'secureConnect');
  return { socket: tls, reset: () => reset(tcp) };
}
