import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { BEARER_TOKEN_PREFIX } from '../remotecommand/protocol.ts';

/** Clients offer five subprotocols; a header may hold half a million. */
const MAX_OFFERED = 100;

/**
 * The bearer token of a request: undefined when it shows none, empty when what it shows is none that could be valid.
 *
 * From `Authorization: Bearer …`, else from the WebSocket subprotocol, which must stand beside a real one (kubelet, "websocket
 * bearer token"). Never to be logged or echoed, nor any part of what it was read from.
 */
export function bearerTokenOf({ headers }: Pick<IncomingMessage, 'headers'>): string | undefined {
  const { authorization, upgrade = '', 'sec-websocket-protocol': subprotocols = '' } = headers;
  if (authorization !== undefined) return /^bearer +(\S+) *$/i.exec(authorization)?.[1] ?? '';
  if (upgrade.toLowerCase() !== 'websocket' || !subprotocols.includes(BEARER_TOKEN_PREFIX)) return undefined;
  const offered = subprotocols.split(',', MAX_OFFERED).map(name => name.trim());
  const [token, second] = offered.filter(name => name.startsWith(BEARER_TOKEN_PREFIX));
  if (token === undefined || second !== undefined || offered.length < 2) return '';
  return decode(token.slice(BEARER_TOKEN_PREFIX.length));
}

/** Base64url without padding, of UTF-8; empty for anything else. */
function decode(encoded: string): string {
  if (!/^[\w-]+$/.test(encoded)) return '';
  const bytes = Buffer.from(encoded, 'base64url');
  return isUtf8(bytes) && bytes.toString('base64url') === encoded ? bytes.toString() : '';
}
