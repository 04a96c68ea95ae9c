import { isIP, isIPv6 } from 'node:net';

/** Where a listener is bound; `host` is an IP address without brackets, or `localhost`. */
export interface BindAddress {
  readonly host: string;
  readonly port: number;
}

/** Reads `HOST:PORT`, IPv6 as `[::1]:9090`. Undefined for anything else; there is no default for either part. */
export function parseBindAddress(text: string): BindAddress | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain ?? '';
  const port = Number(digits);
  const isHost = bracketed === undefined ? host === 'localhost' || isIP(host) === 4 : isIPv6(host);
  return isHost && port <= 65_535 ? { host, port } : undefined;
}

/** Why nothing could be bound there and what to do about it, in one line; `flags` are those that choose it. */
export function bindFailure(
  cause: unknown,
  { host, port }: BindAddress,
  flags: { readonly host: string; readonly port: string },
): string {
  const { code, message } =
    cause instanceof Error ? (cause as NodeJS.ErrnoException) : { code: '', message: String(cause) };
  switch (code) {
    case 'EADDRINUSE':
      return `port ${port} on ${host} is in use: stop what listens there, or choose another port with ${flags.port}`;
    case 'EACCES':
      return `port ${port} on ${host} is not allowed to this user: choose one above 1023 with ${flags.port}`;
    case 'EADDRNOTAVAIL':
      return `the address ${host} is not one of this host's: choose another with ${flags.host}`;
    default:
      return message;
  }
}
