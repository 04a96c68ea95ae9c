import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nameContainer } from '../../../src/docker/naming-schemes.ts';

const kubernetes = {
  'io.kubernetes.docker.type': 'container',
  'io.kubernetes.pod.namespace': 'shop',
  'io.kubernetes.pod.name': 'web-0',
  'io.kubernetes.pod.uid': 'u-1',
  'io.kubernetes.container.name': 'app',
};
const compose = {
  'com.docker.compose.project': 'blog',
  'com.docker.compose.service': 'db',
  'com.docker.compose.container-number': '2',
};

test('kubernetes: namespace, pod, container and UID come from the labels, the attempt from the name', () => {
  assert.deepEqual(nameContainer({ engineName: 'k8s_app_web-0_shop_u-1_3', labels: kubernetes }, ['kubernetes']), {
    scheme: 'kubernetes',
    ref: { namespace: 'shop', pod: 'web-0', container: 'app' },
    podUid: 'u-1',
    attempt: 3,
  });
});

test('kubernetes: the attempt survives the suffix that dockershim adds after a name conflict, or comes from the annotation', () => {
  const named = nameContainer({ engineName: 'k8s_app_web-0_shop_u-1_4_a1b2c3d4', labels: kubernetes }, ['kubernetes']);
  assert.equal(named?.attempt, 4);
  const labels = { ...kubernetes, 'annotation.io.kubernetes.container.restartCount': '7' };
  assert.equal(nameContainer({ engineName: 'whatever', labels }, ['kubernetes'])?.attempt, 7);
});

test('compose: the project is the namespace, SERVICE-NUMBER the pod, the service the container', () => {
  assert.deepEqual(nameContainer({ engineName: 'blog-db-2', labels: compose }, ['compose'])?.ref, {
    namespace: 'blog',
    pod: 'db-2',
    container: 'db',
  });
});

test('plain: the name of the container is both pod and container', () => {
  assert.deepEqual(nameContainer({ engineName: 'box', labels: {} }, ['plain'])?.ref, {
    namespace: 'default',
    pod: 'box',
    container: 'box',
  });
});

test('a pod without a UID always gets the same one, in the form of a UUID', () => {
  const uidOf = (engineName: string): string | undefined =>
    nameContainer({ engineName, labels: {} }, ['plain'])?.podUid;
  assert.match(uidOf('box') ?? '', /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(uidOf('box'), uidOf('box'));
  assert.notEqual(uidOf('box'), uidOf('other'));
});

test('the first scheme of the list that names a container wins', () => {
  const container = { engineName: 'box', labels: { ...kubernetes, ...compose } };
  assert.equal(nameContainer(container, ['compose', 'kubernetes', 'plain'])?.scheme, 'compose');
  assert.equal(nameContainer({ engineName: 'box', labels: {} }, ['compose', 'kubernetes', 'plain'])?.scheme, 'plain');
  assert.equal(nameContainer({ engineName: 'box', labels: {} }, ['compose', 'kubernetes']), undefined);
});

test('sandboxes have no name under any scheme', () => {
  const labels = { ...kubernetes, 'io.kubernetes.docker.type': 'podsandbox' };
  assert.equal(nameContainer({ engineName: 'k8s_POD_x', labels }, ['kubernetes', 'compose', 'plain']), undefined);
});

test('labels that hold no names give none', () => {
  for (const bad of ['', '../etc', 'a/b', 'a\0b', 'x'.repeat(300), ' ']) {
    const labels = { ...kubernetes, 'io.kubernetes.pod.name': bad };
    assert.equal(nameContainer({ engineName: 'x', labels }, ['kubernetes']), undefined, JSON.stringify(bad));
  }
});
