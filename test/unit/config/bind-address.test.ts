import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bindFailure, parseBindAddress } from '../../../src/config/bind-address.ts';

test('takes an IP address, or localhost, with a port', () => {
  assert.deepEqual(parseBindAddress('127.0.0.1:9250'), { host: '127.0.0.1', port: 9250 });
  assert.deepEqual(parseBindAddress('0.0.0.0:0'), { host: '0.0.0.0', port: 0 });
  assert.deepEqual(parseBindAddress('localhost:9250'), { host: 'localhost', port: 9250 });
  assert.deepEqual(parseBindAddress('[::1]:9250'), { host: '::1', port: 9250 });
});

test('refuses what has no port, no host, or a host that is no address', () => {
  for (const text of [
    '',
    '9250',
    ':9250',
    '127.0.0.1',
    '127.0.0.1:',
    '127.0.0.1:65536',
    '::1:9250',
    '[::1]',
    '[127.0.0.1]:1',
    'example.org:80',
  ]) {
    assert.equal(parseBindAddress(text), undefined, text);
  }
});

test('a failure to listen names the flag that helps', () => {
  const flags = { host: '--address', port: '--port' };
  const failure = (code: string): string =>
    bindFailure(Object.assign(new Error('listen failed'), { code }), { host: '127.0.0.1', port: 80 }, flags);
  assert.match(failure('EADDRINUSE'), /^port 80 on 127\.0\.0\.1 is in use: .* --port$/);
  assert.match(failure('EACCES'), /^port 80 on 127\.0\.0\.1 is not allowed .* --port$/);
  assert.match(failure('EADDRNOTAVAIL'), /^the address 127\.0\.0\.1 is not one of this host's.* --address$/);
  assert.equal(failure('EMFILE'), 'listen failed');
  assert.equal(bindFailure('nothing', { host: '127.0.0.1', port: 80 }, flags), 'nothing');
});
