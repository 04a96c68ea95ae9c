import { ExecletError } from '../errors.ts';

/** What a version of the remote command subprotocol can do. */
export interface StreamProtocol {
  /** As it is named on the wire; empty for a WebSocket client that named none. */
  readonly name: string;
  /** The error stream carries one JSON Status, on success too (v4, v5); before that plain text, on failure only. */
  readonly statusAsJson: boolean;
  /** There is a resize stream when the session has a TTY. Over WebSocket every version has channel 4. */
  readonly resize: boolean;
  /** WebSocket only: messages are text, payloads base64. */
  readonly base64: boolean;
  /** WebSocket only: the client can half-close its input with the CLOSE signal. */
  readonly closeSignal: boolean;
}

const none = { statusAsJson: false, resize: false, base64: false, closeSignal: false };

/** Over SPDY, as the kubelet offers them. v5 adds nothing there, and no server list contains it. */
export const SPDY_PROTOCOLS: readonly StreamProtocol[] = [
  { ...none, name: 'v4.channel.k8s.io', statusAsJson: true, resize: true },
  { ...none, name: 'v3.channel.k8s.io', resize: true },
  { ...none, name: 'v2.channel.k8s.io' },
  { ...none, name: 'channel.k8s.io' },
];

/** Over WebSocket. v2 and v3 never existed there. */
export const WEBSOCKET_PROTOCOLS: readonly StreamProtocol[] = [
  { ...none, name: 'v5.channel.k8s.io', statusAsJson: true, resize: true, closeSignal: true },
  { ...none, name: 'v4.channel.k8s.io', statusAsJson: true, resize: true },
  { ...none, name: 'v4.base64.channel.k8s.io', statusAsJson: true, resize: true, base64: true },
  { ...none, name: 'channel.k8s.io', resize: true },
  { ...none, name: 'base64.channel.k8s.io', resize: true, base64: true },
  { ...none, name: '', resize: true },
];

/**
 * How a browser, which can set no header, sends a bearer token with a WebSocket: as one more subprotocol. It is a credential
 * (`server/bearer-token.ts`), never spoken and nothing to quote.
 */
export const BEARER_TOKEN_PREFIX = 'base64url.bearer.authorization.k8s.io.';

/** Clients offer five; half a million would hold up every other session. */
const MAX_OFFERED = 100;

/** The first entries of a header that lists protocols, over one header or several joined by Node with commas. */
export function protocolsOf(header: string | undefined): string[] {
  return (header ?? '')
    .split(',', MAX_OFFERED)
    .map(name => name.trim())
    .filter(name => name !== '');
}

/**
 * The first of the client's list that we speak over SPDY: the client's order wins, as in the kubelet.
 *
 * @throws {ExecletError} BadExecRequest for an empty list, NoCommonProtocol when none matches; texts are the kubelet's
 */
export function negotiateSpdy(requested: readonly string[]): StreamProtocol {
  if (requested.length === 0) {
    throw new ExecletError('BadExecRequest', 'unable to upgrade: X-Stream-Protocol-Version is required');
  }
  const chosen = firstCommon(requested, SPDY_PROTOCOLS);
  if (chosen !== undefined) return chosen;
  throw new ExecletError(
    'NoCommonProtocol',
    `unable to upgrade: unable to negotiate protocol: client supports [${withoutTokens(requested).join(' ')}], ` +
      `server accepts [${SPDY_PROTOCOLS.map(({ name }) => name).join(' ')}]`,
  );
}

/**
 * The first of the client's list that we speak over WebSocket; a client that names none speaks the first version.
 *
 * @throws {ExecletError} NoCommonProtocol with an empty message, since the kubelet's 403 has an empty body
 */
export function negotiateWebSocket(requested: readonly string[]): StreamProtocol {
  const chosen = firstCommon(requested.length === 0 ? [''] : withoutTokens(requested), WEBSOCKET_PROTOCOLS);
  if (chosen !== undefined) return chosen;
  throw new ExecletError('NoCommonProtocol', '');
}

function withoutTokens(requested: readonly string[]): string[] {
  return requested.filter(name => !name.startsWith(BEARER_TOKEN_PREFIX));
}

function firstCommon(requested: readonly string[], spoken: readonly StreamProtocol[]): StreamProtocol | undefined {
  for (const name of requested) {
    const protocol = spoken.find(candidate => candidate.name === name);
    if (protocol !== undefined) return protocol;
  }
  return undefined;
}
