import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { composeLabels, kubernetesLabels, kubernetesName, uniqueName } from '../support/containers.ts';
import { Daemon } from '../support/daemon.ts';
import { startTestEngine, type TestEngine } from '../support/engine.ts';
import { execOverWebSocket } from '../support/websocket-client.ts';

/** The promise: the registry follows the Engine within a second. */
const WITHIN_MS = 1_000;

let engine: TestEngine;
let daemon: Daemon;

before(async () => {
  engine = await startTestEngine();
  daemon = await Daemon.start({ engine, args: ['--naming-schemes', 'kubernetes,compose,plain'] });
});
after(async () => {
  await daemon.stop();
  await engine.stop();
});

/** What an exec would be answered before the upgrade; a container that can be used asks for the upgrade that is missing. */
async function ask(path: string): Promise<{ code: number; text: string }> {
  const response = await fetch(`${daemon.url}/exec/${path}?command=true&output=1`);
  return { code: response.status, text: await response.text() };
}

async function becomes(path: string, expected: { code: number; text: RegExp }): Promise<void> {
  const deadline = Date.now() + WITHIN_MS;
  let answer = await ask(path);
  while (Date.now() < deadline && !(answer.code === expected.code && expected.text.test(answer.text))) {
    await delay(10);
    answer = await ask(path);
  }
  assert.equal(answer.code, expected.code, answer.text);
  assert.match(answer.text, expected.text);
}

const usable = { code: 400, text: /^Upgrade request required$/ };

test('a container that starts, stops, starts again and is removed', async () => {
  const labels = kubernetesLabels({ namespace: 'default', pod: 'life', container: 'app' });
  const container = await engine.createContainer({
    labels,
    command: ['sh', '-c', 'trap "exit 3" TERM; sleep 1000 & wait'],
  });
  await becomes('default/life/app', usable);
  await container.docker.stop();
  await becomes('default/life/app', {
    code: 409,
    text: new RegExp(`^Container ${container.id} is not running: exited \\(3\\)$`),
  });
  await container.docker.start();
  await becomes('default/life/app', usable);
  await container.docker.restart({ t: 0 });
  await becomes('default/life/app', usable);
  await container.docker.remove({ force: true });
  await becomes('default/life/app', { code: 404, text: /^container not found \("app"\): it was removed$/ });
});

test('a container that is paused and goes on', async () => {
  const labels = kubernetesLabels({ namespace: 'default', pod: 'nap', container: 'app' });
  const container = await engine.createContainer({ labels });
  await becomes('default/nap/app', usable);
  await container.docker.pause();
  await becomes('default/nap/app', { code: 409, text: /is paused, unpause the container before exec$/ });
  await container.docker.unpause();
  await becomes('default/nap/app', usable);
});

test('a container that is renamed', async () => {
  const container = await engine.createContainer({ name: uniqueName('old') });
  await becomes(`default/${container.name}/${container.name}`, usable);
  const newName = uniqueName('new');
  await container.docker.rename({ name: newName });
  await becomes(`default/${newName}/${newName}`, usable);
  await becomes(`default/${container.name}/${container.name}`, {
    code: 404,
    text: new RegExp(`it was renamed to default/${newName}/${newName}$`),
  });
});

test('compose and plain names, each under its own scheme', async () => {
  await engine.createContainer({ labels: composeLabels({ project: 'blog', service: 'db', number: 2 }) });
  await becomes('blog/db-2/db', usable);
  const { name } = await engine.createContainer({});
  await becomes(`default/${name}/${name}`, usable);
});

test('a sandbox has no handler', async () => {
  const name = uniqueName('sandbox');
  const labels = kubernetesLabels({ namespace: 'default', pod: 'sandboxed', container: 'POD' });
  await engine.createContainer({ name, labels: { ...labels, 'io.kubernetes.docker.type': 'podsandbox' } });
  await engine.createContainer({ labels: kubernetesLabels({ namespace: 'default', pod: 'after', container: 'app' }) });
  await becomes('default/after/app', usable); // so the sandbox's events have been seen too
  assert.equal((await ask('default/sandboxed/POD')).code, 404);
  assert.equal((await ask(`default/${name}/${name}`)).code, 404);
});

test('of two containers of one name the higher attempt is meant, or the one of the UID in the path', async () => {
  const of = { namespace: 'default', pod: 'twice', container: 'app' };
  const create = async (uid: string, attempt: number): Promise<string> => {
    const container = await engine.createContainer({
      name: kubernetesName({ ...of, uid, attempt }),
      labels: kubernetesLabels({ ...of, uid }),
    });
    return container.id;
  };
  const newer = await create('uid-new', 3);
  const older = await create('uid-old', 1);
  await becomes('default/twice/uid-old/app', usable);
  await becomes('default/twice/uid-new/app', usable);
  assert.equal((await ask('default/twice/uid-none/app')).code, 404);
  const hostname = async (path: string): Promise<string> => {
    const url = `ws://127.0.0.1:${daemon.port}/exec/${path}?command=hostname&output=1`;
    return (await execOverWebSocket({ url, protocols: ['v4.channel.k8s.io'] })).stdout.toString().trim();
  };
  assert.equal(await hostname('default/twice/app'), newer.slice(0, 12));
  assert.equal(await hostname('default/twice/uid-new/app'), newer.slice(0, 12));
  assert.equal(await hostname('default/twice/uid-old/app'), older.slice(0, 12));
  await daemon.waitForLog(line => line.message === 'two pods have one name' && line.pod === 'twice');
});

test('what ran before the daemon started is there from the list', async () => {
  const labels = kubernetesLabels({ namespace: 'default', pod: 'early', container: 'app' });
  await engine.createContainer({ labels });
  const stopped = await engine.createContainer({
    labels: kubernetesLabels({ namespace: 'default', pod: 'done', container: 'app' }),
    command: ['sh', '-c', 'exit 5'],
  });
  await stopped.docker.wait();
  const second = await Daemon.start({ engine });
  const answer = async (path: string): Promise<string> =>
    (await fetch(`${second.url}/exec/${path}?command=true&output=1`)).text();
  assert.equal(await answer('default/early/app'), 'Upgrade request required');
  assert.match(await answer('default/done/app'), /is not running: exited \(5\)$/);
  await second.stop();
});

test('the sessions of a container that goes end with a Status that says why', async () => {
  const labels = kubernetesLabels({ namespace: 'default', pod: 'doomed', container: 'app' });
  const container = await engine.createContainer({ labels });
  await becomes('default/doomed/app', usable);
  const ended = execOverWebSocket({
    url: `ws://127.0.0.1:${daemon.port}/exec/default/doomed/app?command=sh&command=-c&command=${encodeURIComponent('touch /tmp/up; sleep 1000')}&output=1`,
    protocols: ['v5.channel.k8s.io'],
  });
  // Before the command runs, the end would be a start that failed.
  const deadline = Date.now() + 10_000;
  while ((await container.exec(['ls', '/tmp/up'])).exitCode !== 0) {
    assert.ok(Date.now() < deadline, 'the command does not run');
    await delay(20);
  }
  await container.remove();
  const { status } = await ended;
  // The Engine kills the command first; what the client is told is why.
  assert.match(status, /"status":"Failure"/);
  assert.match(status, /"reason":"ExecletReason","message":"container_gone"/);
});

test('labels that look like the exit of an exec do not decide how a command ended', async () => {
  const labels = kubernetesLabels({ namespace: 'default', pod: 'liar', container: 'app' });
  await engine.createContainer({ labels: { ...labels, exitCode: '0', execID: 'any' } });
  await becomes('default/liar/app', usable);
  const url = `ws://127.0.0.1:${daemon.port}/exec/default/liar/app?command=sh&command=-c&command=exit%2042&output=1`;
  const { status } = await execOverWebSocket({ url, protocols: ['v5.channel.k8s.io'] });
  assert.match(status, /"reason":"ExitCode","message":"42"/);
});
