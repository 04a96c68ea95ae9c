import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { fetchPodRows, formatPodTable, type PodRow } from '../../../src/client/pod-list.ts';

const row = (fields: Partial<PodRow> = {}): PodRow => ({
  namespace: 'default',
  name: 'web',
  containers: ['a', 'b'],
  ready: '2/2',
  status: 'Running',
  restarts: '0',
  age: '5m',
  ...fields,
});

test('aligns the columns and leaves no blanks at line ends', () => {
  const pods = [
    row(),
    row({ namespace: 'kube-system', name: 'a-long-pod-name', containers: ['c'], restarts: '12', age: '3d' }),
  ];
  assert.equal(
    formatPodTable(pods),
    [
      'NAMESPACE     POD               CONTAINERS   READY   STATUS    RESTARTS   AGE',
      'default       web               a,b          2/2     Running   0          5m',
      'kube-system   a-long-pod-name   c            2/2     Running   12         3d',
      '',
    ].join('\n'),
  );
});

test("asks for the server's table with the objects, and reads its cells by column name", async () => {
  const asked: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url, request.headers.accept);
    const table = {
      kind: 'Table',
      apiVersion: 'meta.k8s.io/v1',
      columnDefinitions: ['Age', 'Name', 'Ready', 'Restarts', 'Status'].map(name => ({ name })),
      rows: [
        {
          cells: ['5m', 'web', '2/2', 3, null],
          object: { metadata: { namespace: 'n', name: 'web' }, spec: { containers: [{ name: 'a' }, { name: 'b' }] } },
        },
      ],
    };
    response.end(JSON.stringify(table));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const url = new URL(`http://127.0.0.1:${address.port}`);
  const pods = await fetchPodRows({ server: url, tls: { rejectUnauthorized: true } }, 'n');
  server.close();
  assert.deepEqual(asked, [
    '/api/v1/namespaces/n/pods?includeObject=Object',
    'application/json;as=Table;v=v1;g=meta.k8s.io',
  ]);
  assert.deepEqual(pods, [row({ namespace: 'n', restarts: '3', status: '' })]);
});
