import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { VERSION } from '../../../src/version.ts';
import { Authority } from '../../support/authority.ts';
import { CHECKOUT } from '../../support/checkout.ts';
import { temporaryDirectory } from '../../support/cleanup.ts';
import { mustRun } from '../../support/command.ts';
import { kubernetesLabels } from '../../support/containers.ts';
import { startTestEngine, type TestEngine } from '../../support/engine.ts';
import { provideImageBases } from '../../support/image-bases.ts';
import { newMark, untilAsleep, untilMarked } from '../../support/left-behind.ts';
import { renderManifests } from '../../support/manifests.ts';
import { oneKubectlPerTransport } from '../../support/one-kubectl-per-transport.ts';
import type { Pod } from '../../support/pod.ts';
import { killProcesses, listProcesses } from '../../support/processes.ts';
import { ReviewServer } from '../../support/review-server.ts';
import { probe, processStatus, runPod, type NodeOptions, type RunningPod } from '../../support/run-pod.ts';
import { describeCompose } from './compose.ts';

// The image is built from the Dockerfile, and run as a kubelet would run the pods of deploy/, and Docker Compose its service.

const BUILD_TIMEOUT_MS = 10 * 60_000;
const HEALTHY_TIMEOUT_MS = 60_000;
const IMAGE = `execlet:${VERSION}`;
const ALICE = 'the-token-of-alice';
/** Half a second instead of 10 before each signal. */
const IMPATIENT = '--kill-grace-period=500ms';

const clients = await oneKubectlPerTransport();
const { path: directory } = await temporaryDirectory('image');
const users = await Authority.create('users');
const cluster = await Authority.create('cluster');
let engine: TestEngine;
let reviews: ReviewServer;
let node: NodeOptions;

before(async () => {
  engine = await startTestEngine();
  engine.requirePrivate(); // nothing is built in an Engine of somebody's
  await buildImage(await provideImageBases(engine.docker, await publicBases()));
  for (const [pod, user] of [
    ['web', '0'],
    ['other-user', '1000'],
  ] as const) {
    const labels = kubernetesLabels({ namespace: 'default', pod, container: 'app' });
    await engine.createContainer({ labels, create: { User: user } });
  }
  reviews = await ReviewServer.start();
  reviews.users.set(ALICE, { username: 'alice', groups: ['system:authenticated'] });
  const clusterCaFile = join(directory, 'cluster-ca.crt');
  await writeFile(clusterCaFile, cluster.certificate);
  const { port, token, authority } = reviews;
  const apiServer = { host: '127.0.0.1', port, token, ca: authority.certificate };
  node = { name: 'node-1', ip: hostAddress(), engine, clusterCaFile, clientCa: users.certificate, apiServer };
});
after(async () => {
  await reviews.close();
  await engine.stop();
});

/** One that is not loopback, as a node has. */
function hostAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap(listed => listed ?? []);
  const found = all.find(({ internal, family }) => !internal && family === 'IPv4');
  if (found === undefined) throw new Error('this machine has no IPv4 address but loopback, which a node needs');
  return found.address;
}

/** What the Dockerfile is built of unless arguments say otherwise. */
async function publicBases(): Promise<string[]> {
  const dockerfile = await readFile(join(CHECKOUT, 'Dockerfile'), 'utf8');
  return [...dockerfile.matchAll(/^ARG \w+_IMAGE=(.+)$/gm)].map(([, image = '']) => image);
}

/** By the command of the documents; the network, for RUN, is the host's, since the private dockerd has no other. */
async function buildImage(bases: Readonly<Record<string, string>>): Promise<void> {
  const began = performance.now();
  const args = Object.entries(bases).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`]);
  await mustRun('npm', ['run', '--silent', 'image', '--', '--network', 'host', '--quiet', ...args], {
    cwd: CHECKOUT,
    env: { ...process.env, DOCKER_HOST: engine.dockerHost, DOCKER_BUILDKIT: '0' },
    timeoutMs: BUILD_TIMEOUT_MS,
  });
  const seconds = Math.round((performance.now() - began) / 1000);
  const { Size: bytes } = await engine.docker.getImage(IMAGE).inspect();
  console.error(`the image: ${Math.round(bytes / 1e6)} MB, built in ${seconds} s`);
}

/** kubectl's flags for somebody who trusts the certificate that execlet has made. */
const flagsOf = {
  alice: ({ certificateFile }: RunningPod) => ['--certificate-authority', certificateFile, '--token', ALICE],
  /** With a certificate of that authority. */
  async certificate({ certificateFile }: RunningPod, authority: Authority, name: string, ...groups: string[]) {
    const { cert, key } = await authority.issue({ commonName: name, organizations: groups, usages: ['client'] });
    await writeFile(join(directory, `${name}.crt`), cert);
    await writeFile(join(directory, `${name}.key`), key);
    const files = [
      '--client-certificate',
      join(directory, `${name}.crt`),
      '--client-key',
      join(directory, `${name}.key`),
    ];
    return ['--certificate-authority', certificateFile, ...files];
  },
};

/** The pod with another argument. */
const withArgument =
  (argument: string) =>
  (pod: Pod): Pod => ({ ...pod, containers: [{ ...pod.containers[0], args: [...pod.containers[0].args, argument] }] });

/** Starts a sleep through execlet, kills kubectl, and answers the mark of the sleep. */
async function leaveSleepBehind(pod: RunningPod, name: string, flags = flagsOf.alice(pod)): Promise<string> {
  const [{ kubectl, transport }] = clients;
  const client = await kubectl.against({ server: pod.url, transport });
  const mark = newMark();
  const child = client.spawn([...flags, 'exec', name, '--', 'sleep', mark]);
  const closed = once(child, 'close');
  await untilAsleep(mark, 1);
  await killProcesses((await listProcesses()).filter(({ argv }) => argv[0] === client.path && argv.includes(mark)));
  await closed;
  return mark;
}

/** Waits for a line of its log that has all these words. */
async function untilLogged(pod: RunningPod, ...words: string[]): Promise<void> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const log = await pod.log();
    if (log.split('\n').some(line => words.every(word => line.includes(word)))) return;
    if (Date.now() > deadline) throw new Error(`no line with ${words.join(' and ')} in:\n${log}`);
    await delay(100);
  }
}

/** Runs the pod of a directory of deploy/ for one test. */
async function inPod(
  of: { directory: string; change?: (pod: Pod) => Pod },
  test: (pod: RunningPod) => Promise<void>,
): Promise<void> {
  const pod = await runPod(await renderManifests(of.directory), node, of.change);
  try {
    await test(pod);
  } finally {
    await pod.remove();
  }
}

async function execAs(flags: readonly string[], pod: RunningPod, ...command: string[]): Promise<string> {
  const [{ kubectl, transport }] = clients;
  const client = await kubectl.against({ server: pod.url, transport });
  const { stdout, stderr, exitCode } = await client.run([...flags, 'exec', 'web', '--', ...command]);
  return `${exitCode}: ${stdout.toString()}${stderr}`;
}

describe('the image', () => {
  test('says what it is, and holds no shell', async () => {
    const { Config, Size } = await engine.docker.getImage(IMAGE).inspect();
    const labels = Config.Labels;
    assert.equal(labels['org.opencontainers.image.title'], 'execlet');
    assert.equal(labels['org.opencontainers.image.version'], VERSION);
    assert.match(labels['org.opencontainers.image.revision'] ?? '', /^([0-9a-f]{40}|unknown)$/);
    assert.ok(Size < 220e6, `${Size} bytes`);
    const files = await listFiles();
    assert.ok(files.has('app/sbom.spdx.json') && files.has('app/LICENSE') && files.has('usr/local/bin/execlet'));
    assert.ok(!files.has('bin/sh') && !files.has('usr/bin/sh'));
    for (const unwanted of ['app/src', 'app/test', 'app/node_modules/typescript', 'app/node_modules/npm', 'root/.npm'])
      assert.ok(!files.has(unwanted), unwanted);
  });

  test('its health check asks the daemon', async () => {
    const container = await engine.docker.createContainer({
      Image: IMAGE,
      Healthcheck: { Interval: 1e9 },
      HostConfig: { NetworkMode: 'none' },
    });
    try {
      await container.start();
      const deadline = Date.now() + HEALTHY_TIMEOUT_MS;
      const health = async (): Promise<string | undefined> => (await container.inspect()).State.Health?.Status;
      while ((await health()) !== 'healthy' && Date.now() < deadline) await delay(200);
      assert.equal(await health(), 'healthy');
    } finally {
      await container.remove({ force: true });
    }
  });
});

describe('the pod of deploy/base', () => {
  let pod: RunningPod;
  before(async () => {
    reviews.decide = ({ user, resourceAttributes: { resource, subresource } = {} }) => ({
      allowed: user === 'alice' && resource === 'pods' && (subresource === undefined || subresource === 'exec'),
    });
    pod = await runPod(await renderManifests('base'), node);
  });
  after(() => pod.remove());

  test('is root with no capability but KILL, gains none, and can write nothing but its certificate', async () => {
    const status = await processStatus(pod.pid);
    const kill = 1n << 5n; // capabilities(7)
    for (const set of ['CapEff', 'CapPrm', 'CapBnd']) assert.equal(BigInt(`0x${status[set] ?? ''}`), kill, set);
    assert.equal(status.Uid, '0\t0\t0\t0');
    assert.equal(status.NoNewPrivs, '1');
    assert.equal(status.Seccomp, '2'); // a filter
    const mounts = await readFile(`/proc/${pod.pid}/mounts`, 'utf8');
    assert.match(mounts, /^overlay \/ overlay ro,/m);
    assert.match(mounts, / \/etc\/execlet \w+ ro,/);
    assert.equal((await probe(`${pod.url}/readyz`)).status, 200);
  });

  for (const { kubectl, transport } of clients) {
    test(`${kubectl.name} over ${transport}: exec, its exit code and its input; whoever has no right, or no token`, async () => {
      const client = await kubectl.against({ server: pod.url, transport });
      const alice = flagsOf.alice(pod);
      const cat = await client.run([...alice, 'exec', '-i', 'web', '--', 'sh', '-c', 'cat; exit 3'], { stdin: 'abc' });
      assert.deepEqual([cat.stdout.toString(), cat.exitCode], ['abc', 3]);
      const listed = await client.run([...alice, 'get', 'pods', '--output', 'name']);
      assert.equal(listed.stdout.toString(), 'pod/other-user\npod/web\n');
      const nobody = ['--certificate-authority', pod.certificateFile, '--token', 'none', 'exec', 'web', '--', 'true'];
      assert.match((await client.run(nobody)).stderr, /You must be logged in to the server|Unauthorized/);
      const elsewhere = await client.run([...alice, 'auth', 'can-i', 'get', 'pods']);
      assert.notEqual(elsewhere.exitCode, 0);
    });
  }

  for (const name of ['web', 'other-user']) {
    test(`in ${name}: what a killed kubectl leaves is ended after the grace period of the manifest`, async () => {
      await untilMarked(await leaveSleepBehind(pod, name), 0);
    });
  }

  test('execlet doctor, in the pod, finds nothing wrong', async () => {
    const settings = ['--config=/etc/execlet/execlet.yaml', `--address=${node.ip}`, '--node-name=node-1'];
    const exec = await pod.container.exec({
      Cmd: ['execlet', 'doctor', ...settings],
      AttachStdout: true,
      AttachStderr: true,
    });
    const said = (await buffer(await exec.start({ hijack: true }))).toString();
    const { ExitCode } = await exec.inspect();
    assert.doesNotMatch(said, /problem:|not checked:/);
    for (const seen of [
      'ok: the processes of containers are seen here',
      'ok: processes of every user may be signalled',
      `ok: an execlet runs on ${node.ip}:10350, and is ready`,
    ])
      assert.ok(said.includes(seen), said);
    assert.equal(ExitCode, 0);
  });

  test('a stop as the kubelet does it ends with 0', async () => {
    await pod.container.stop();
    const { State } = await pod.container.inspect();
    assert.equal(State.ExitCode, 0);
  });
});

describe('without', () => {
  before(() => {
    reviews.decide = () => ({ allowed: true });
  });

  test("the host's pid namespace what a client leaves behind stays, and is counted", async () => {
    const change = (pod: Pod): Pod => withArgument(IMPATIENT)({ ...pod, hostPID: false });
    await inPod({ directory: 'base', change }, async pod => {
      const mark = await leaveSleepBehind(pod, 'web');
      await untilLogged(pod, 'processes are left in a container', 'no_host_pid');
      await killProcesses(await untilMarked(mark, 1));
    });
  });

  test('CAP_KILL what runs as root is ended, and what runs as another user stays', async () => {
    const change = (pod: Pod): Pod => {
      const [container] = withArgument(IMPATIENT)(pod).containers;
      const capabilities = { drop: ['ALL'], add: [] };
      return {
        ...pod,
        containers: [{ ...container, securityContext: { ...container.securityContext, capabilities } }],
      };
    };
    await inPod({ directory: 'base', change }, async pod => {
      await untilMarked(await leaveSleepBehind(pod, 'web'), 0);
      const mark = await leaveSleepBehind(pod, 'other-user');
      await untilLogged(pod, 'processes are left in a container', 'not_permitted');
      await killProcesses(await untilMarked(mark, 1));
    });
  });

  test("the Engine's socket it lives, is not ready, and says why", async () => {
    const change = (pod: Pod): Pod => {
      const [container] = pod.containers;
      const volumeMounts = container.volumeMounts.filter(({ name }) => name !== 'docker-socket');
      return { ...pod, containers: [{ ...container, volumeMounts }] };
    };
    await inPod({ directory: 'base', change }, async pod => {
      const { status, body } = await probe(`${pod.url}/readyz`);
      assert.equal(status, 503);
      assert.match(body, /^\[-\]engine failed: .*\/var\/run\/docker\.sock/m);
      assert.match(await execAs(flagsOf.alice(pod), pod, 'true'), /^1: .*\/var\/run\/docker\.sock does not answer/s);
    });
  });
});

describe('the overlay', () => {
  test('cri-dockerd believes the identity that kube-apiserver has for kubelets, and asks about nodes/proxy', async () => {
    reviews.decide = ({ user, resourceAttributes: { resource, subresource, name } = {} }) => ({
      allowed:
        user === 'kube-apiserver-kubelet-client' && `${resource}/${subresource}/${name}` === 'nodes/proxy/node-1',
    });
    await inPod({ directory: 'overlays/cri-dockerd' }, async pod => {
      const group = 'kubeadm:cluster-admins';
      const flags = await flagsOf.certificate(pod, cluster, 'kube-apiserver-kubelet-client', group);
      assert.equal(await execAs(flags, pod, 'echo', 'hi'), '0: hi\n');
      assert.match(await execAs(flagsOf.alice(pod), pod, 'echo', 'hi'), /^1: .*forbidden/is);
    });
  });

  test('edge goes by certificates and rules, and asks no API server', async () => {
    const asked = reviews.received.length;
    await inPod({ directory: 'overlays/edge' }, async pod => {
      const operator = await flagsOf.certificate(pod, users, 'olga', 'operators');
      assert.equal(await execAs(operator, pod, 'echo', 'hi'), '0: hi\n');
      const other = await flagsOf.certificate(pod, users, 'eve');
      assert.match(await execAs(other, pod, 'echo', 'hi'), /^1: .*forbidden/is);
    });
    assert.equal(reviews.received.length, asked);
  });

  test('non-root runs as nobody in particular, and ends no command', async () => {
    reviews.decide = () => ({ allowed: true });
    // The group that the manifest expects the socket to have.
    await mustRun('chgrp', ['999', engine.dockerHost.replace('unix://', '')]);
    await inPod({ directory: 'overlays/non-root', change: withArgument(IMPATIENT) }, async pod => {
      const status = await processStatus(pod.pid);
      assert.equal(status.Uid, '65532\t65532\t65532\t65532');
      assert.equal(BigInt(`0x${status.CapEff ?? ''}`), 0n);
      assert.equal((await probe(`${pod.url}/readyz`)).status, 200);
      // Its certificate is in the pod's own memory.
      const mark = await leaveSleepBehind(pod, 'web', ['--insecure-skip-tls-verify', '--token', ALICE]);
      await untilLogged(pod, 'processes are left in a container', 'no_host_pid');
      await killProcesses(await untilMarked(mark, 1));
    });
  });
});

describeCompose(() => ({ engine, image: IMAGE }));

/** The paths in the image. */
async function listFiles(): Promise<ReadonlySet<string>> {
  const container = await engine.docker.createContainer({ Image: IMAGE });
  try {
    const tar = await container.export();
    const names = await mustRun('tar', ['--list'], { stdin: await buffer(tar) });
    return new Set(names.split('\n').map(name => name.replace(/\/$/, '')));
  } finally {
    await container.remove();
  }
}
