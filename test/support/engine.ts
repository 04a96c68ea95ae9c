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

/** There is no Engine that can be used. The message is for a person, and says what to do. */
export class NoEngineError extends Error {
  override readonly name = 'NoEngineError';
}

/**
 * An Engine to test with, the first of: the one at EXECLET_TEST_DOCKER_HOST; a private dockerd, for root with dockerd and a
 * static busybox; the one that answers at DOCKER_HOST or the default socket; a private dockerd for which apt installs what is
 * missing, for root on Debian. So a machine whose Docker runs gets nothing installed. The Engine is cleaned up also when the
 * process crashes.
 *
 * @throws {NoEngineError} where there is none
 */
export async function startTestEngine(env: NodeJS.ProcessEnv = process.env): Promise<TestEngine> {
  const chosen = env.EXECLET_TEST_DOCKER_HOST;
  if (chosen !== undefined && chosen !== '') return borrowEngine(chosen);
  const isRoot = process.getuid?.() === 0;
  const present: PrivateParts = isRoot ? await findPrivateParts() : {};
  if (isWhole(present)) return startPrivateEngine(present);
  const named = env.DOCKER_HOST;
  const running = named === undefined || named === '' ? `unix://${DEFAULT_SOCKET}` : named;
  const silence = await silenceOf(running);
  if (silence === undefined) return borrowEngine(running);
  if (await canInstallPackages()) {
    await installPackages([
      ...(present.dockerd === undefined ? ['docker.io'] : []),
      ...(present.busybox === undefined ? ['busybox-static'] : []),
    ]);
    const installed = await findPrivateParts();
    if (isWhole(installed)) return startPrivateEngine(installed);
  }
  throw new NoEngineError(
    `A Docker Engine is needed, and none answers at ${running} (${silence}). Start one, or say where it is: ` +
      'DOCKER_HOST=unix:///path/to/docker.sock. Where it runs and may not be used, join the group of its socket, mostly ' +
      'docker, or run this as root. As root, with dockerd and a static busybox on PATH, a private Engine is started and ' +
      'removed again; on Debian apt installs the two (docker.io, busybox-static).',
  );
}

/** What a private Engine is made of, as far as this machine has it. */
interface PrivateParts {
  readonly dockerd?: string;
  readonly busybox?: string;
}

async function findPrivateParts(): Promise<PrivateParts> {
  const [dockerd, busybox] = await Promise.all([findExecutable('dockerd'), findStaticBusybox()]);
  return { ...(dockerd !== undefined && { dockerd }), ...(busybox !== undefined && { busybox }) };
}

function isWhole(parts: PrivateParts): parts is Required<PrivateParts> {
  return parts.dockerd !== undefined && parts.busybox !== undefined;
}

/** Why no Engine answers there; undefined where one does. */
async function silenceOf(dockerHost: string): Promise<string | undefined> {
  const docker = clientOf(dockerHost);
  try {
    await docker.ping();
    return undefined;
  } catch (cause) {
    return cause instanceof Error ? cause.message : String(cause);
  }
}

/** Somebody may have an Engine that we do not reach, by ssh: no reason to install another one. */
function clientOf(dockerHost: string): Docker {
  try {
    return dockerClient(dockerHost);
  } catch (cause) {
    throw new NoEngineError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

async function startPrivateEngine({ dockerd, busybox }: Required<PrivateParts>): Promise<TestEngine> {
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

/** Works in an Engine that is not ours: what carries our label is ours, and nothing else is touched. */
async function borrowEngine(dockerHost: string): Promise<TestEngine> {
  const docker = clientOf(dockerHost);
  await docker.ping().catch((cause: unknown) => {
    throw new NoEngineError(`No Docker Engine answers at ${dockerHost}. Start it, or set EXECLET_TEST_DOCKER_HOST.`, {
      cause,
    });
  });
  await sweepDeadRuns(docker, dockerHost);
  const run = await runName();
  const label = `${RUN_LABEL}=${run}`;
  const forget = leaveToJanitor({ kind: 'labelled', dockerHost, label });
  const image = await provideImage(docker, { dockerHost, label });
  return {
    dockerHost,
    docker,
    image,
    createContainer: (options = {}) => createContainer(docker, { image, marks: { [RUN_LABEL]: run } }, options),
    requirePrivate: () => {
      throw new Error(
        `This test stops the Engine, or builds in it, so it needs a private one, and the tests run with ${dockerHost}. Run it as root ` +
          'with dockerd and a static busybox on PATH, and without EXECLET_TEST_DOCKER_HOST.',
      );
    },
    stop: async () => {
      await removeLabelled(dockerHost, label);
      forget();
    },
  };
}

/** `busybox` as the Engine has it, else as its registry has it, else one made of the machine's own busybox. */
async function provideImage(
  docker: Docker,
  { dockerHost, label }: { dockerHost: string; label: string },
): Promise<string> {
  const image = 'busybox:latest';
  if ((await docker.listImages({ filters: { reference: [image] } })).length > 0) return image;
  try {
    await followToEnd(docker, await docker.pull(image));
    return image;
  } catch (cause) {
    const busybox = await findStaticBusybox();
    if (busybox === undefined) {
      throw new NoEngineError(
        `The Engine at ${dockerHost} has no image busybox and cannot pull it; load it there, or install busybox-static.`,
        { cause },
      );
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
