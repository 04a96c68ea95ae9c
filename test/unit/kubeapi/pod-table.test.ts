import assert from 'node:assert/strict';
import { test } from 'node:test';
import { podTableOf } from '../../../src/kubeapi/pod-table.ts';
import { podsOf } from '../../../src/kubeapi/pods.ts';
import { fakeContainer } from '../../support/fake-registry.ts';

const now = Date.parse('2026-01-02T03:08:15Z');
const pods = podsOf(
  [
    fakeContainer('a', 'web', 'one', { attempt: 2 }),
    fakeContainer('a', 'web', 'two', { attempt: 1, paused: true }),
    fakeContainer('b', 'dns', 'dns'),
  ],
  'node-1',
);

test('has the columns of an API server, the wide ones with priority 1', () => {
  const table = podTableOf(pods, { version: 'v1', includeObject: 'None', now });
  assert.partialDeepStrictEqual(table, {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    columnDefinitions: [
      { name: 'Name', priority: 0, format: 'name' },
      { name: 'Ready', priority: 0 },
      { name: 'Status', priority: 0 },
      { name: 'Restarts', priority: 0 },
      { name: 'Age', priority: 0 },
      { name: 'IP', priority: 1 },
      { name: 'Node', priority: 1 },
      { name: 'Nominated Node', priority: 1 },
      { name: 'Readiness Gates', priority: 1 },
    ],
  });
});

test('a paused container shows in ready and status, restarts are added up', () => {
  assert.partialDeepStrictEqual(podTableOf(pods, { version: 'v1', includeObject: 'None', now }), {
    rows: [
      { cells: ['web', '1/2', 'Paused', '3', '4m10s', '<none>', 'node-1', '<none>', '<none>'] },
      { cells: ['dns', '1/1', 'Running', '0', '4m10s', '<none>', 'node-1', '<none>', '<none>'] },
    ],
  });
});

test('rows carry nothing, the metadata, or the whole pod, as asked', () => {
  const rowOf = (includeObject: 'None' | 'Metadata' | 'Object', version: 'v1' | 'v1beta1' = 'v1'): unknown => {
    const table = podTableOf(pods.slice(1), { version, includeObject, now });
    assert.ok(typeof table === 'object' && table !== null && 'rows' in table && Array.isArray(table.rows));
    return table.rows[0];
  };
  const cells = ['dns', '1/1', 'Running', '0', '4m10s', '<none>', 'node-1', '<none>', '<none>'];
  const metadata = pods[1]?.metadata;
  assert.deepEqual(rowOf('None'), { cells });
  assert.deepEqual(rowOf('Object'), { cells, object: pods[1] });
  assert.deepEqual(rowOf('Metadata', 'v1beta1'), {
    cells,
    object: { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1beta1', metadata },
  });
});
