import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NamingScheme } from '../../../src/docker/naming-schemes.ts';
import { checkContainers } from '../../../src/doctor/containers-check.ts';
import { composeLabels, kubernetesLabels } from '../../support/containers.ts';

const PLAIN = { engineName: 'web', labels: {} };
const COMPOSE = { engineName: 'p-db-1', labels: composeLabels({ project: 'p', service: 'db', number: 1 }) };
const POD = { engineName: 'k8s_app', labels: kubernetesLabels({ namespace: 'default', pod: 'web', container: 'app' }) };
const SANDBOX = { engineName: 'k8s_POD', labels: { 'io.kubernetes.docker.type': 'podsandbox' } };

function lines(containers: Parameters<typeof checkContainers>[0], ...schemes: NamingScheme[]): string[] {
  return checkContainers(containers, schemes).map(({ result, text }) => `${result}: ${text}`);
}

test('where no scheme names any container that runs, it says which would', () => {
  const none = '--naming-schemes kubernetes names 0 of';
  assert.deepEqual(lines([PLAIN], 'kubernetes'), [
    `problem: ${none} 1 running container, so none can be reached: --naming-schemes plain would name them`,
  ]);
  assert.deepEqual(lines([PLAIN, COMPOSE], 'kubernetes'), [
    `problem: ${none} 2 running containers, so none can be reached: --naming-schemes compose,plain would name them`,
  ]);
});

test('containers that are not served beside others are a note, with the schemes to add', () => {
  assert.deepEqual(lines([POD, PLAIN], 'kubernetes'), [
    'note: --naming-schemes kubernetes names 1 of 2 running containers, and not web: --naming-schemes kubernetes,plain would name these too',
  ]);
  const many = Array.from({ length: 7 }, (_, index) => ({ engineName: `c${index}`, labels: {} }));
  assert.match(lines([POD, ...many], 'kubernetes')[0] ?? '', /and not c0, c1, c2, c3, c4 and 2 others: /);
});

test('where all are named, or none runs, that is all; sandboxes do not count', () => {
  assert.deepEqual(lines([POD, SANDBOX], 'kubernetes'), [
    'ok: --naming-schemes kubernetes names 1 of 1 running container',
  ]);
  for (const containers of [[], [SANDBOX]])
    assert.match(lines(containers, 'plain')[0] ?? '', /^note: no container runs/);
});
