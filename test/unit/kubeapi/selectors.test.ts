import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Pod } from '../../../src/kubeapi/pods.ts';
import { podsOf } from '../../../src/kubeapi/pods.ts';
import { parseFieldSelector, parseLabelSelector } from '../../../src/kubeapi/selectors.ts';
import { fakeContainer } from '../../support/fake-registry.ts';

function labelled(labels: Record<string, string>): Pod {
  const [pod] = podsOf([fakeContainer('ns', 'web', 'c')], 'node-1');
  assert.ok(pod !== undefined);
  return { ...pod, metadata: { ...pod.metadata, labels } };
}

const pod = labelled({ app: 'web', 'example.com/tier': 'front', empty: '' });

const FIELDS: [selector: string, selects: boolean][] = [
  ['', true],
  ['metadata.name=web', true],
  ['metadata.name==web', true],
  ['metadata.name!=web', false],
  ['metadata.name=web,metadata.namespace=ns', true],
  ['metadata.name=web,metadata.namespace!=ns', false],
  ['spec.nodeName=node-1', true],
  ['spec.nodeName=node-2', false],
  ['spec.nodeName=', false],
  ['status.phase=Running', true],
  ['status.phase!=Succeeded,status.phase!=Failed', true],
];
for (const [selector, selects] of FIELDS) {
  test(`field selector "${selector}" ${selects ? 'selects' : 'leaves out'} the pod`, () =>
    assert.equal(parseFieldSelector(selector)(pod), selects));
}

const LABELS: [selector: string, selects: boolean][] = [
  ['', true],
  ['app=web', true],
  ['app==web', true],
  ['app = web', true],
  ['app=db', false],
  ['app!=db', true],
  ['app!=web', false],
  ['missing!=x', true],
  ['missing=', false],
  ['empty=', true],
  ['app', true],
  ['!app', false],
  ['missing', false],
  ['!missing', true],
  ['toString', false],
  ['app in (web,db)', true],
  ['app in (db, web)', true],
  ['app in (db)', false],
  ['app notin (web,db)', false],
  ['missing notin (x)', true],
  ['missing in (x)', false],
  ['example.com/tier=front,app in (a,web),!missing', true],
  ['example.com/tier=front,app in (a,b),!missing', false],
];
for (const [selector, selects] of LABELS) {
  test(`label selector "${selector}" ${selects ? 'selects' : 'leaves out'} the pod`, () =>
    assert.equal(parseLabelSelector(selector)(pod), selects));
}

for (const selector of ['spec.restartPolicy=Always', 'name', 'metadata.name', '=x', 'metadata.name>a']) {
  test(`field selector "${selector}" is refused, not ignored`, () =>
    assert.throws(() => parseFieldSelector(selector), { name: 'ExecletError', code: 'BadExecRequest' }));
}

for (const selector of [
  'a>1',
  'a<1',
  'a in b',
  'a in (b',
  'a in (b))',
  '=x',
  '!',
  'a=b=c',
  'a b',
  'a=(x)',
  '-a=b',
  '!a=b',
]) {
  test(`label selector "${selector}" is refused, not ignored`, () =>
    assert.throws(() => parseLabelSelector(selector), { name: 'ExecletError', code: 'BadExecRequest' }));
}
