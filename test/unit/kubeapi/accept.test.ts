import assert from 'node:assert/strict';
import { test } from 'node:test';
import { representationFor } from '../../../src/kubeapi/accept.ts';

const TABLE = 'application/json;as=Table;v=v1;g=meta.k8s.io';
const OLD_TABLE = 'application/json;as=Table;v=v1beta1;g=meta.k8s.io';

test('kubectl get asks for a table', () => {
  assert.deepEqual(representationFor(`${TABLE},${OLD_TABLE},application/json`), { table: 'v1' });
  assert.deepEqual(representationFor(`${OLD_TABLE},application/json`), { table: 'v1beta1' });
});

test('everything else that takes JSON gets the object', () => {
  for (const accept of [undefined, '', '*/*', 'application/*', 'application/json, */*', 'Application/JSON;q=0.9']) {
    assert.equal(representationFor(accept), 'object', accept);
  }
  assert.equal(representationFor('application/vnd.kubernetes.protobuf,application/json'), 'object');
});

test('passes over what it cannot write', () => {
  assert.equal(
    representationFor('application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json'),
    'object',
  );
  assert.equal(representationFor('application/json;as=Table;v=v2;g=meta.k8s.io'), undefined);
  assert.equal(representationFor('application/vnd.kubernetes.protobuf'), undefined);
  assert.equal(representationFor('text/html'), undefined);
});
