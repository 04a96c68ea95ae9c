import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bearerTokenOf } from '../../../src/server/bearer-token.ts';

const PREFIX = 'base64url.bearer.authorization.k8s.io.';

function subprotocols(value: string): string | undefined {
  return bearerTokenOf({ headers: { upgrade: 'websocket', 'sec-websocket-protocol': value } });
}

test('a token comes in the Authorization header, the scheme in any case', () => {
  assert.equal(bearerTokenOf({ headers: { authorization: 'Bearer abc.def' } }), 'abc.def');
  assert.equal(bearerTokenOf({ headers: { authorization: 'bearer  abc ' } }), 'abc');
  assert.equal(bearerTokenOf({ headers: {} }), undefined);
});

test('any other Authorization is a credential that cannot be valid', () => {
  for (const authorization of ['', 'Bearer', 'Bearer ', 'Bearer a b', 'Basic YTpi', 'Bearerabc']) {
    assert.equal(bearerTokenOf({ headers: { authorization } }), '', authorization);
  }
});

test('a browser sends it as a subprotocol beside a real one', () => {
  const token = Buffer.from('s3cret/ü').toString('base64url');
  assert.equal(subprotocols(`v4.channel.k8s.io, ${PREFIX}${token}`), 's3cret/ü');
  assert.equal(subprotocols(`${PREFIX}${token},v5.channel.k8s.io`), 's3cret/ü');
  assert.equal(subprotocols('v5.channel.k8s.io'), undefined);
  const header = {
    upgrade: 'WebSocket',
    authorization: 'Bearer abc',
    'sec-websocket-protocol': `a, ${PREFIX}${token}`,
  };
  assert.equal(bearerTokenOf({ headers: header }), 'abc');
});

test('a subprotocol that is no token, two of them, or one alone, cannot be valid', () => {
  const token = Buffer.from('abc').toString('base64url');
  for (const value of [
    `${PREFIX}${token}`,
    `v4.channel.k8s.io, ${PREFIX}`,
    `v4.channel.k8s.io, ${PREFIX}${token}==`,
    `v4.channel.k8s.io, ${PREFIX}_w`,
    `v4.channel.k8s.io, ${PREFIX}${token}, ${PREFIX}${token}`,
    `${'a,'.repeat(100)}${PREFIX}${token}`,
  ]) {
    assert.equal(subprotocols(value), '', value.slice(-60));
  }
});

test('without a WebSocket upgrade it is no credential', () => {
  const headers = { 'sec-websocket-protocol': `v4.channel.k8s.io, ${PREFIX}YWJj` };
  assert.equal(bearerTokenOf({ headers }), undefined);
});
