import assert from 'node:assert/strict';
import { test } from 'node:test';
import { negotiateSpdy, negotiateWebSocket, protocolsOf } from '../../../src/remotecommand/protocol.ts';

test("the client's order wins, over several headers and comma-separated lists", () => {
  assert.equal(
    negotiateSpdy(protocolsOf('v5.channel.k8s.io, v3.channel.k8s.io,v4.channel.k8s.io')).name,
    'v3.channel.k8s.io',
  );
  assert.equal(negotiateWebSocket(protocolsOf('v4.channel.k8s.io, v5.channel.k8s.io')).name, 'v4.channel.k8s.io');
});

test('SPDY: an empty list is 400, nothing in common 403 with both lists, in the words of the kubelet', () => {
  assert.throws(() => negotiateSpdy(protocolsOf(undefined)), {
    httpStatus: 400,
    message: 'unable to upgrade: X-Stream-Protocol-Version is required',
  });
  assert.throws(() => negotiateSpdy(['v5.channel.k8s.io', 'b']), {
    httpStatus: 403,
    message:
      'unable to upgrade: unable to negotiate protocol: client supports [v5.channel.k8s.io b], ' +
      'server accepts [v4.channel.k8s.io v3.channel.k8s.io v2.channel.k8s.io channel.k8s.io]',
  });
});

test('WebSocket: no list is the first version, nothing in common 403 with an empty body', () => {
  assert.equal(negotiateWebSocket([]).name, '');
  for (const name of ['channel', 'base64.channel', 'v4.channel', 'v4.base64.channel', 'v5.channel']) {
    assert.equal(negotiateWebSocket([`${name}.k8s.io`]).name, `${name}.k8s.io`);
  }
  for (const spdyOnly of ['v2.channel.k8s.io', 'v3.channel.k8s.io', 'nope']) {
    assert.throws(() => negotiateWebSocket([spdyOnly]), { httpStatus: 403, message: '' });
  }
});

test('a bearer token among the subprotocols is never chosen, and does not stand for a subprotocol', () => {
  const token = 'base64url.bearer.authorization.k8s.io.c2VjcmV0';
  assert.equal(negotiateWebSocket([token, 'v4.channel.k8s.io']).name, 'v4.channel.k8s.io');
  assert.throws(() => negotiateWebSocket([token]), { httpStatus: 403 });
});
