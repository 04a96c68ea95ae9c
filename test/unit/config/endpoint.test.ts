import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultEndpoint, parseEndpoint } from '../../../src/config/endpoint.ts';

test('takes the endpoints that execlet can speak to', () => {
  for (const text of [
    'unix:///var/run/docker.sock',
    'unix:///tmp/a b/docker.sock',
    'tcp://127.0.0.1:2375',
    'tcp://engine.example',
    'http://engine.example:2375/',
    'https://[::1]:2376',
  ]) {
    assert.equal(parseEndpoint(text)?.text, text);
  }
});

test('refuses what would be misread or cannot be spoken to', () => {
  for (const text of [
    '',
    '/var/run/docker.sock',
    'unix://var/run/docker.sock', // relative: the first slash is missing
    'unix:///',
    'unix:///var/run/',
    'tcp://',
    'tcp:/127.0.0.1:2375',
    'tcp://:2375',
    'tcp://host:port',
    'tcp://host:70000',
    'tcp://host:0',
    'http://host/path',
    'http://host?query',
    'http://user:secret@host',
    'ssh://host',
    'fd://',
    'npipe:////./pipe/docker_engine',
    'tcp://host name',
    'tcp://host\n',
  ]) {
    assert.equal(parseEndpoint(text), undefined, JSON.stringify(text));
  }
});

test('DOCKER_HOST is the default endpoint; without it, or empty, the default socket', () => {
  assert.equal(defaultEndpoint({ DOCKER_HOST: 'tcp://127.0.0.1:2375' }), 'tcp://127.0.0.1:2375');
  assert.equal(defaultEndpoint({ DOCKER_HOST: '' }), 'unix:///var/run/docker.sock');
  assert.equal(defaultEndpoint({}), 'unix:///var/run/docker.sock');
});

test('ports are those of the scheme unless one is named, and IPv6 addresses lose their brackets', () => {
  const parsed = (text: string) => {
    const endpoint = parseEndpoint(text);
    return endpoint !== undefined && 'host' in endpoint
      ? `${endpoint.protocol} ${endpoint.host} ${endpoint.port}`
      : undefined;
  };
  assert.equal(parsed('tcp://docker'), 'http docker 2375');
  assert.equal(parsed('tcp://[::1]:2375'), 'http ::1 2375');
  assert.equal(parsed('http://docker'), 'http docker 80');
  assert.equal(parsed('http://docker:80'), 'http docker 80');
  assert.equal(parsed('https://docker:443/'), 'https docker 443');
});
