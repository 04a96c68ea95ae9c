import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultEndpoint, isEndpoint } from '../../../src/config/endpoint.ts';

test('takes the endpoints that execlet can speak to', () => {
  for (const text of [
    'unix:///var/run/docker.sock',
    'unix:///tmp/a b/docker.sock',
    'tcp://127.0.0.1:2375',
    'tcp://engine.example',
    'http://engine.example:2375/',
    'https://[::1]:2376',
  ]) {
    assert.equal(isEndpoint(text), true, text);
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
    assert.equal(isEndpoint(text), false, JSON.stringify(text));
  }
});

test('DOCKER_HOST is the default endpoint; without it, or empty, the default socket', () => {
  assert.equal(defaultEndpoint({ DOCKER_HOST: 'tcp://127.0.0.1:2375' }), 'tcp://127.0.0.1:2375');
  assert.equal(defaultEndpoint({ DOCKER_HOST: '' }), 'unix:///var/run/docker.sock');
  assert.equal(defaultEndpoint({}), 'unix:///var/run/docker.sock');
});
