import assert from 'node:assert/strict';
import { test } from 'node:test';
import { notServed } from '../../../src/kubeapi/not-served.ts';

const NOT_SERVED: [path: string, what: string][] = [
  ['/attach/ns/pod/c', 'attach'],
  ['/attach', 'attach'],
  ['/portForward/ns/pod', 'port-forward'],
  ['/containerLogs/ns/pod/c', 'logs'],
  ['/run/ns/pod/c', 'run'],
  ['/api/v1/namespaces/ns/pods/p/attach', 'attach'],
  ['/api/v1/namespaces/ns/pods/p/portforward', 'port-forward'],
  ['/api/v1/namespaces/ns/pods/p/log', 'logs'],
  ['/api/v1/namespaces/ns/pods/p/proxy/index.html', 'proxy'],
  ['/api/v1/namespaces/ns/pods/p/ephemeralcontainers', 'debug'],
];
for (const [path, what] of NOT_SERVED) {
  test(`${path} is not served`, () => assert.equal(notServed(path), `execlet serves exec only, not ${what}`));
}

for (const path of [
  '/exec/ns/pod/c',
  '/attached',
  '/portforward/ns/pod',
  '/api/v1/namespaces/ns/pods/log',
  '/api/v1/namespaces/ns/pods/p/exec',
  '/api/v1/namespaces/ns/pods/p/logs',
  '/',
]) {
  test(`${path} has an answer of its own`, () => assert.equal(notServed(path), undefined));
}
