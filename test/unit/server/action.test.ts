import assert from 'node:assert/strict';
import { test } from 'node:test';
import { actionOf } from '../../../src/server/action.ts';

test('reading pods is get or list, in one namespace or in all', () => {
  assert.deepEqual(actionOf('GET', '/pods'), { kind: 'pods', verb: 'list' });
  assert.deepEqual(actionOf('GET', '/api/v1/pods'), { kind: 'pods', verb: 'list' });
  assert.deepEqual(actionOf('GET', '/api/v1/namespaces/a%20b/pods'), { kind: 'pods', verb: 'list', namespace: 'a b' });
  assert.deepEqual(actionOf('GET', '/api/v1/namespaces/ns/pods/web'), {
    kind: 'pods',
    verb: 'get',
    namespace: 'ns',
    pod: 'web',
  });
});

test('the method changes nothing, except where there is one operation for each', () => {
  for (const path of ['/pods', '/api/v1/namespaces/ns/pods/web', '/version', '/metrics', '/exec/a/b/c']) {
    for (const method of ['POST', 'DELETE', 'HEAD', 'OPTIONS', 'PATCH']) {
      assert.deepEqual(actionOf(method, path), actionOf('GET', path), `${method} ${path}`);
    }
  }
  for (const path of ['/execlet/v1/sessions', '/execlet/v1/sessions/some-id']) {
    assert.deepEqual(actionOf('GET', path), { kind: 'sessions', verb: 'list' });
    assert.deepEqual(actionOf('DELETE', path), { kind: 'sessions', verb: 'delete' });
  }
});

test('discovery, a namespace, and what is not served, is for everybody who is known', () => {
  for (const path of [
    ...['/version', '/api', '/apis', '/api/v1', '/api/v1/namespaces/a%20b'],
    ...['/attach/a/b/c', '/api/v1/namespaces/a/pods/b/log', '/api/v1/namespaces/a/pods/b/ephemeralcontainers'],
  ]) {
    assert.deepEqual(actionOf('GET', path), { kind: 'discovery' }, path);
  }
});

test('an exec path is an exec, whatever else it is', () => {
  for (const path of ['/exec/a/b/c', '/exec/', '/exec/a', '/exec/a/../pods', '/api/v1/namespaces/a/pods/b/exec']) {
    assert.deepEqual(actionOf('GET', path), { kind: 'exec' }, path);
  }
});

test('a path that is not known, as it was sent, is nothing that anybody may do', () => {
  for (const path of [
    '/',
    '',
    '/PODS',
    '/pods/',
    '//pods',
    '/./pods',
    '/version/',
    '/metrics/x',
    '/metricsx',
    '/api/v1/',
    '/api/v1/nodes',
    '/api/v1/namespaces',
    '/api/v1/namespaces/',
    '/api/v1/namespaces/ns/',
    '/api/v1/namespaces/..',
    '/api/v1/namespaces/a%2fb',
    '/api/v1/namespaces/ns/status',
    '/api/v1/namespaces//pods',
    '/api/v1/namespaces/ns/pods/',
    '/api/v1/namespaces/ns/pods/web/',
    '/api/v1/namespaces/ns/pods/web/status',
    '/execlet/v1/sessions/',
    '/execlet/v1/sessions/a/b',
    'http://localhost/pods',
    '/exec',
    '/%70ods',
    '/api/v1/namespaces/../pods',
    '/api/v1/namespaces/ns/pods/..',
    '/api/v1/namespaces/a%2fb/pods',
  ]) {
    assert.equal(actionOf('GET', path), undefined, path);
  }
  assert.throws(() => actionOf('GET', '/api/v1/namespaces/%zz'), { code: 'BadExecRequest' });
  assert.throws(() => actionOf('GET', '/api/v1/namespaces/%zz/pods'), { code: 'BadExecRequest' });
  assert.throws(() => actionOf('DELETE', '/execlet/v1/sessions/%zz'), { code: 'BadExecRequest' });
});
