import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listVersionOf, podListOf, podsOf } from '../../../src/kubeapi/pods.ts';
import { fakeContainer, registryOf } from '../../support/fake-registry.ts';

const namesOf = (pods: ReturnType<typeof podsOf>): string[][] =>
  pods.map(({ metadata, spec }) => [metadata.namespace, metadata.name, ...spec.containers.map(({ name }) => name)]);

test('groups containers by namespace, pod and pod UID', () => {
  const registry = registryOf(
    fakeContainer('b', 'web', 'one'),
    fakeContainer('a', 'web', 'two', { podUid: 'u1' }),
    fakeContainer('a', 'web', 'one', { podUid: 'u1' }),
    fakeContainer('a', 'web', 'one', { podUid: 'u2', attempt: 1 }),
  );
  const pods = podsOf(registry.list(), 'node-1');
  assert.deepEqual(namesOf(pods), [
    ['a', 'web', 'one'],
    ['a', 'web', 'one', 'two'],
    ['b', 'web', 'one'],
  ]);
  assert.deepEqual(
    pods.slice(0, 2).map(({ metadata }) => metadata.uid),
    ['u2', 'u1'],
    'the pod that an exec reaches comes first',
  );
});

test('shows one container where several claim its name: the one that an exec reaches', () => {
  const registry = registryOf(
    fakeContainer('a', 'web', 'one', { containerId: 'old' }),
    fakeContainer('a', 'web', 'one', { containerId: 'new', attempt: 1 }),
  );
  const [pod, ...others] = podsOf(registry.list(), 'node-1');
  assert.deepEqual(others, []);
  assert.deepEqual(
    pod?.status.containerStatuses.map(({ containerID, restartCount }) => [containerID, restartCount]),
    [['docker://new', 1]],
  );
});

test('fills a Pod as the Kubernetes API does', () => {
  const containers = [
    fakeContainer('a', 'web', 'one', { podUid: 'u1', containerId: 'c1', attempt: 3 }),
    fakeContainer('a', 'web', 'two', {
      podUid: 'u1',
      containerId: 'c2',
      paused: true,
      startedAt: new Date('2026-01-02T03:05:00Z'),
    }),
  ];
  assert.deepEqual(podsOf(containers, 'node-1')[0], {
    kind: 'Pod',
    apiVersion: 'v1',
    metadata: {
      name: 'web',
      namespace: 'a',
      uid: 'u1',
      resourceVersion: String(Date.parse('2026-01-02T03:05:00Z')),
      creationTimestamp: '2026-01-02T03:04:05Z',
      labels: {},
    },
    spec: {
      containers: [
        { name: 'one', image: 'busybox:latest' },
        { name: 'two', image: 'busybox:latest' },
      ],
      nodeName: 'node-1',
      securityContext: {},
    },
    status: {
      phase: 'Running',
      startTime: '2026-01-02T03:04:06Z',
      conditions: [{ type: 'Ready', status: 'False' }],
      containerStatuses: [
        {
          name: 'one',
          ready: true,
          started: true,
          restartCount: 3,
          state: { running: { startedAt: '2026-01-02T03:04:06Z' } },
          lastState: {},
          image: 'busybox:latest',
          imageID: 'docker://sha256:0123',
          containerID: 'docker://c1',
        },
        {
          name: 'two',
          ready: false,
          started: true,
          restartCount: 0,
          state: { waiting: { reason: 'Paused', message: 'the container is paused' } },
          lastState: {},
          image: 'busybox:latest',
          imageID: 'docker://sha256:0123',
          containerID: 'docker://c2',
        },
      ],
    },
  });
});

test("a list's resourceVersion is the newest of its pods, and never 0", () => {
  assert.equal(listVersionOf([]), '1');
  const pods = podsOf(
    [fakeContainer('a', 'x', 'x'), fakeContainer('a', 'y', 'y', { startedAt: new Date(5) })],
    'node-1',
  );
  assert.equal(podListOf(pods).metadata.resourceVersion, String(Date.parse('2026-01-02T03:04:06.789Z')));
});
