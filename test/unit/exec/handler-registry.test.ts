import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ContainerEnd } from '../../../src/exec/container-end.ts';
import { HandlerRegistry, type RegisteredContainer } from '../../../src/exec/handler-registry.ts';

function container(overrides: Partial<RegisteredContainer> = {}): RegisteredContainer {
  return {
    ref: { namespace: 'shop', pod: 'web', container: 'app' },
    podUid: 'u-1',
    scheme: 'kubernetes',
    containerId: 'c1',
    engineName: 'web',
    attempt: 0,
    image: 'busybox',
    imageId: 'sha256:1',
    createdAt: new Date(0),
    startedAt: new Date(0),
    paused: false,
    gone: new ContainerEnd(),
    handler: { exec: () => Promise.reject(new Error('not called')) },
    ...overrides,
  };
}
const web = { namespace: 'shop', pod: 'web' };
const app = { ...web, container: 'app' };

test('finds a container by name, and not after it was unregistered', () => {
  const registry = new HandlerRegistry();
  const registered = container();
  const unregister = registry.register(registered);
  assert.equal(registry.resolve(app), registered);
  unregister();
  assert.throws(() => registry.resolve(app), { code: 'HandlerNotFound', message: 'pod does not exist' });
});

test('undoing a registration leaves a later one of the same name alone', () => {
  const registry = new HandlerRegistry();
  const undo = registry.register(container({ containerId: 'old' }));
  registry.register(container({ containerId: 'new', startedAt: new Date(1) }));
  undo();
  undo();
  assert.equal(registry.resolve(app).containerId, 'new');
});

test('among several of one name: a kubelet name first, then the highest attempt, then the newest start', () => {
  const registry = new HandlerRegistry();
  const add = (containerId: string, rest: Partial<RegisteredContainer>): void =>
    void registry.register(container({ containerId, ...rest }));
  add('late', { startedAt: new Date(9) });
  assert.equal(registry.resolve(app).containerId, 'late');
  add('attempt', { attempt: 2 });
  assert.equal(registry.resolve(app).containerId, 'attempt');
  add('kubelet', { engineName: 'k8s_app_web_shop_u-1_1', attempt: 1 });
  assert.equal(registry.resolve(app).containerId, 'kubelet');
  add('newest', { engineName: 'k8s_app_web_shop_u-2_1', attempt: 1, podUid: 'u-2', startedAt: new Date(5) });
  assert.equal(registry.resolve(app).containerId, 'newest');
});

test('a UID in the path decides, and matches or is not found', () => {
  const registry = new HandlerRegistry();
  registry.register(container({ containerId: 'one', podUid: 'u-1', attempt: 5 }));
  registry.register(container({ containerId: 'two', podUid: 'u-2' }));
  assert.equal(registry.resolve({ ...app, podUid: 'u-2' }).containerId, 'two');
  assert.throws(() => registry.resolve({ ...app, podUid: 'u-3' }), { code: 'HandlerNotFound', httpStatus: 404 });
});

test('without a container name the only one is meant; of several one must be named', () => {
  const registry = new HandlerRegistry();
  registry.register(container());
  assert.equal(registry.resolve(web).ref.container, 'app');
  registry.register(container({ ref: { ...app, container: 'sidecar' } }));
  assert.throws(() => registry.resolve(web), {
    code: 'BadExecRequest',
    message: 'a container name must be specified for pod web, choose one of: [app sidecar]',
  });
  assert.throws(() => registry.resolve({ ...app, container: 'nope' }), {
    code: 'HandlerNotFound',
    message: 'container not found ("nope")',
  });
});

test('a paused container is a conflict', () => {
  const registry = new HandlerRegistry();
  registry.register(container({ paused: true }));
  assert.throws(() => registry.resolve(app), { code: 'ContainerNotRunning', message: /c1 is paused/ });
});

test('says what became of a name, for ten minutes', () => {
  let now = 0;
  const registry = new HandlerRegistry({ now: () => now });
  registry.remember(app, { kind: 'stopped', containerId: 'c1', detail: 'exited (137)' });
  const stopped = { code: 'ContainerNotRunning', message: 'Container c1 is not running: exited (137)' };
  assert.throws(() => registry.resolve(app), stopped);
  assert.throws(() => registry.resolve(web), stopped, 'also when the pod is named alone');
  assert.equal(registry.fateOfPod('shop', 'web'), 'Container c1 is not running: exited (137)');
  registry.rememberRemoved('c1');
  assert.throws(() => registry.resolve(app), { code: 'HandlerNotFound', message: /was removed/ });
  registry.remember(app, { kind: 'renamed', containerId: 'c1', newName: 'shop/web/new' });
  assert.throws(() => registry.resolve(app), { code: 'HandlerNotFound', message: /renamed to shop\/web\/new/ });
  now = 10 * 60 * 1000 + 1;
  assert.throws(() => registry.resolve(app), { message: 'pod does not exist' });
});

test('remembers at most 1 024 names, the oldest forgotten first', () => {
  const registry = new HandlerRegistry();
  for (let number = 0; number < 1_025; number += 1) {
    registry.remember({ ...app, pod: `p${number}` }, { kind: 'removed', containerId: String(number) });
  }
  assert.throws(() => registry.resolve({ ...app, pod: 'p0' }), { message: 'pod does not exist' });
  assert.throws(() => registry.resolve({ ...app, pod: 'p1' }), { message: /was removed/ });
});

test('a name that runs again is no longer remembered as gone', () => {
  const registry = new HandlerRegistry();
  registry.remember(app, { kind: 'removed', containerId: 'old' });
  registry.register(container());
  assert.equal(registry.resolve(app).containerId, 'c1');
});
