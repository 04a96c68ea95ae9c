import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkLoopbackHost, checkOrigin } from '../../../src/server/origin.ts';

test('a loopback Host may ask without a credential', () => {
  for (const host of ['127.0.0.1:10350', '127.9.9.9', 'localhost:1', 'LOCALHOST', '[::1]:10350', '[::1]']) {
    checkLoopbackHost({ host });
  }
});

test('any other Host is refused there', () => {
  for (const host of [
    undefined,
    '',
    'evil.example:10350',
    '10.0.0.1',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    '[::2]',
  ]) {
    assert.throws(() => checkLoopbackHost(host === undefined ? {} : { host }), { httpStatus: 403 }, String(host));
  }
});

test('a request of a web page is refused unless its origin is listed, letter by letter', () => {
  const allowed = { tls: true, allowedOrigins: new Set(['https://console.example']) };
  checkOrigin({}, allowed);
  checkOrigin({ origin: 'https://console.example' }, allowed);
  for (const origin of [
    'http://localhost',
    'null',
    '',
    'http://console.example',
    'https://console.example:8443',
    'https://console.example.evil.example',
    'https://evil.example, https://console.example',
  ]) {
    assert.throws(() => checkOrigin({ origin }, allowed), { httpStatus: 403 }, origin);
  }
  const none = { tls: true, allowedOrigins: new Set<string>() };
  assert.throws(() => checkOrigin({ origin: 'https://console.example' }, none), { httpStatus: 403 });
});

test('a client that names the server it calls as its origin is no web page', () => {
  const allowedOrigins = new Set<string>();
  for (const [origin, host, tls] of [
    ['http://localhost:10350', 'localhost:10350', false],
    ['https://Node-1:10350', 'node-1:10350', true],
  ] as const) {
    checkOrigin({ origin, host }, { tls, allowedOrigins });
    assert.throws(() => checkOrigin({ origin, host }, { tls: !tls, allowedOrigins }), { httpStatus: 403 });
  }
  for (const [origin, host] of [
    ['http://localhost:3000', 'localhost:10350'],
    ['http://localhost', 'localhost:10350'],
    ['http://', ''],
    ['http://evil.example', undefined],
  ]) {
    const headers = { origin, ...(host !== undefined && { host }) };
    assert.throws(() => checkOrigin(headers, { tls: true, allowedOrigins }), { httpStatus: 403 }, origin);
  }
});
