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
