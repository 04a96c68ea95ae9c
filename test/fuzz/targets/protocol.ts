import assert from 'node:assert/strict';
import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import fc from 'fast-check';
import { ExecletError } from '../../../src/errors.ts';
import {
  negotiateSpdy,
  negotiateWebSocket,
  protocolsOf,
  SPDY_PROTOCOLS,
  WEBSOCKET_PROTOCOLS,
  type StreamProtocol,
} from '../../../src/remotecommand/protocol.ts';
import { checkWebSocketHandshake } from '../../../src/remotecommand/websocket.ts';
import { outcomeOf, type FuzzTarget } from '../target.ts';

const NAMES = [...SPDY_PROTOCOLS, ...WEBSOCKET_PROTOCOLS].map(({ name }) => name);
const TOKEN = 'base64url.bearer.authorization.k8s.io.c2VjcmV0';

/** Whatever a client's list says, the first of it that we speak is chosen, or it is refused in one of two ways. */
export const protocol: FuzzTarget = {
  name: 'protocol',
  sources: ['remotecommand/protocol.ts'],
  tokens: [...NAMES, TOKEN, ',', ', ', ' ', 'v9.channel.k8s.io'],
  nearlyRight: fc
    .array(fc.oneof(fc.constantFrom(...NAMES, TOKEN), fc.string()), { maxLength: 6 })
    .map(names => names.join(', ')),
  check: input => {
    const requested = protocolsOf(input.toString('latin1'));
    for (const name of requested) assert.ok(name !== '' && name === name.trim() && !name.includes(','));
    checkChoice(requested, SPDY_PROTOCOLS, () => negotiateSpdy(requested), 'BadExecRequest');
    const orNone = requested.length === 0 ? [''] : requested;
    checkChoice(orNone, WEBSOCKET_PROTOCOLS, () => negotiateWebSocket(requested), undefined);
  },
};

function checkChoice(
  requested: readonly string[],
  spoken: readonly StreamProtocol[],
  negotiate: () => StreamProtocol,
  codeForNone: string | undefined,
): void {
  const expected = requested.find(name => spoken.some(candidate => candidate.name === name));
  const chosen = outcomeOf(negotiate, ExecletError);
  if ('value' in chosen) assert.equal(chosen.value.name, expected);
  else {
    assert.equal(expected, undefined);
    assert.equal(chosen.error.code, requested.length === 0 ? codeForNone : 'NoCommonProtocol');
  }
}

/** Lines `METHOD`, `Sec-WebSocket-Version`, `Sec-WebSocket-Key`: accepted only as RFC 6455 has them. */
export const webSocketHandshake: FuzzTarget = {
  name: 'websocket-handshake',
  sources: ['remotecommand/websocket.ts'],
  tokens: ['GET', 'POST', '\n', '13', '8', 'dGhlIHNhbXBsZSBub25jZQ==', '==', 'GET\n13\ndGhlIHNhbXBsZSBub25jZQ=='],
  check: input => {
    const [method = '', version = '', key = ''] = input.toString('latin1').split('\n');
    const request = new IncomingMessage(new Socket());
    request.method = method;
    request.headers = { 'sec-websocket-version': version, 'sec-websocket-key': key };
    const checked = outcomeOf(() => checkWebSocketHandshake(request), ExecletError);
    if ('error' in checked) assert.ok(['MethodNotAllowed', 'BadExecRequest'].includes(checked.error.code));
    else assert.deepEqual([method, version, Buffer.from(key, 'base64').length, key.length], ['GET', '13', 16, 24]);
  },
};
