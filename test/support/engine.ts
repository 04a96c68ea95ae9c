import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type Docker from 'dockerode';
import { findStaticBusybox, importBusybox } from './busybox-image.ts';
import { leaveToJanitor } from './cleanup.ts';
import { findExecutable } from './command.ts';
import {
  createContainer,
  dockerClient,
  removeLabelled,
  type ContainerOptions,
  type TestContainer,
} from './containers.ts';
import { canInstallPackages, installPackages } from './debian.ts';
import { followToEnd } from './import-image.ts';
import { PrivateDockerd, sweepDeadDockerds } from './private-dockerd.ts';
import { isRunning, readProcess } from './processes.ts';

const DEFAULT_SOCKET = '/var/run/docker.sock';
/** On every container and image of the tests; the value tells which run made it. */
const RUN_LABEL = 'io.execlet.test.run';

/** An Engine for tests, and the containers that they make in it. */
export interface TestEngine {
  /** As DOCKER_HOST has it: `unix:///path` or `tcp://host:port`. */
  readonly dockerHost: string;
  readonly docker: Docker;
  /** A busybox image, for containers that are made without `createContainer`. */
  readonly image: string;
  /** Makes a container that goes with the engine at the latest. */
  createContainer(options?: ContainerOptions): Promise<TestContainer>;
  /** The dockerd behind it, to be killed, frozen and restarted. @throws where the Engine is somebody else's */
  requirePrivate(): PrivateDockerd;
  /** Removes everything that was made here; a private Engine with it. */
  stop(): Promise<void>;
}

/**
 * An Engine to test with, the first of: the one at EXECLET_TEST_DOCKER_HOST; a private dockerd, for root; the one that
 * answers at DOCKER_HOST or the default socket; a private dockerd that apt installs first, for root on Debian. So a machine
 * that has Docker gets nothing installed. The Engine is cleaned up also when the process crashes.
 *
 * @throws where there is none, with what to do
 */
export async function startTestEngine(env: NodeJS.ProcessEnv = process.env): Promise<TestEngine> {
  const chosen = env.EXECLET_TEST_DOCKER_HOST;
  if (chosen !== undefined && chosen !== '') return borrowEngine(chosen);
  const isRoot = process.getuid?.() === 0;
  const present = isRoot ? await findExecutable('dockerd') : undefined;
  if (present !== undefined) return startPrivateEngine(present);
  const running = env.DOCKER_HOST ?? `unix://${DEFAULT_SOCKET}`;
  if (await answers(running)) return borrowEngine(running);
  if (isRoot && (await canInstallPackages())) {
    await installPackages(['docker.io', 'busybox-static']);
    const installed = await findExecutable('dockerd');
    if (installed !== undefined) return startPrivateEngine(installed);
  }
  throw new Error(
    'The tests need a Docker Engine. Run them as root with dockerd on PATH (on Debian they install it by themselves), ' +
      'or start an Engine and set EXECLET_TEST_DOCKER_HOST=unix:///path/to/docker.sock.',
  );
}

async function answers(dockerHost: string): Promise<boolean> {
  return dockerClient(dockerHost)
    .ping()
    .then(
      () => true,
      () => false,
    );
}

async function startPrivateEngine(dockerd: string): Promise<TestEngine> {
  const busybox = await requireBusybox();
  await sweepDeadDockerds();
  const engine = await PrivateDockerd.start(dockerd);
  const run = await runName();
  const image = 'execlet-test/busybox:latest';
  try {
    await importBusybox(engine.docker, { busybox, tag: image, label: `${RUN_LABEL}=${run}` });
  } catch (cause) {
    await engine.remove();
    throw cause;
  }
  return {
    dockerHost: engine.dockerHost,
    docker: engine.docker,
    image,
    createContainer: (options = {}) => createContainer(engine.docker, { image, marks: { [RUN_LABEL]: run } }, options),
    requirePrivate: () => engine,
    stop: () => engine.remove(),
  };
}

async function requireBusybox(): Promise<string> {
  const found = await findStaticBusybox();
  if (found !== undefined) return found;
  if (await canInstallPackages()) await installPackages(['busybox-static']);
  const installed = await findStaticBusybox();
  if (installed !== undefined) return installed;
  throw new Error(
    'The tests need a statically linked busybox on PATH, to make an image of (Debian: busybox-static), or an Engine that ' +
      'can pull one: set EXECLET_TEST_DOCKER_HOST=unix:///path/to/docker.sock.',
  );
}

/** Works in an Engine that is not ours: what carries our label is ours, and nothing else is touched. */
async function borrowEngine(dockerHost: string): Promise<TestEngine> {
  const docker = dockerClient(dockerHost);
  await docker.ping().catch((cause: unknown) => {
    throw new Error(`No Docker Engine answers at ${dockerHost}. Start it, or set EXECLET_TEST_DOCKER_HOST.`, { cause });
  });
  await sweepDeadRuns(docker, dockerHost);
  const run = await runName();
  const label = `${RUN_LABEL}=${run}`;
  const forget = leaveToJanitor({ kind: 'labelled', dockerHost, label });
  const image = await provideImage(docker, label);
  return {
    dockerHost,
    docker,
    image,
    createContainer: (options = {}) => createContainer(docker, { image, marks: { [RUN_LABEL]: run } }, options),
    requirePrivate: () => {
      throw new Error(
        `This test stops the Engine, so it needs a private one, and the tests run with ${dockerHost}. Run it as root ` +
          'with dockerd on PATH, and without EXECLET_TEST_DOCKER_HOST.',
      );
    },
    stop: async () => {
      await removeLabelled(dockerHost, label);
      forget();
    },
  };
}

/** `busybox` as the Engine has it, else as its registry has it, else one made of the machine's own busybox. */
async function provideImage(docker: Docker, label: string): Promise<string> {
  const image = 'busybox:latest';
  if ((await docker.listImages({ filters: { reference: [image] } })).length > 0) return image;
  try {
    await followToEnd(docker, await docker.pull(image));
    return image;
  } catch (cause) {
    const busybox = await findStaticBusybox();
    if (busybox === undefined) {
      throw new Error('The Engine has no image busybox and cannot pull it; load it there, or install busybox-static.', {
        cause,
      });
    }
    const tag = `execlet-test/busybox:${randomBytes(6).toString('hex')}`;
    await importBusybox(docker, { busybox, tag, label });
    return tag;
  }
}

/** Tells this run from every other, and a run that is over from one that goes on. */
async function runName(): Promise<string> {
  const self = await readProcess(process.pid);
  return `${hostname()}/${process.pid}/${self?.startTime ?? ''}/${randomBytes(4).toString('hex')}`;
}

/** Removes what crashed runs of this machine left in the Engine. */
async function sweepDeadRuns(docker: Docker, dockerHost: string): Promise<void> {
  const filters = { label: [RUN_LABEL] };
  const [containers, images] = await Promise.all([
    docker.listContainers({ all: true, filters }),
    docker.listImages({ filters }),
  ]);
  const runs = new Set([...containers, ...images].flatMap(({ Labels }) => Labels[RUN_LABEL] ?? []));
  for (const run of runs) {
    const [host, pid, startTime = ''] = run.split('/');
    if (host !== hostname() || (await isRunning({ pid: Number(pid), startTime }))) continue;
    await removeLabelled(dockerHost, `${RUN_LABEL}=${run}`);
  }
}
