import { randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import Docker from 'dockerode';

/** Stays until it is stopped, ends at once on SIGTERM, and reaps the orphans of execs as an init does. */
const IDLE_COMMAND = ['sh', '-c', 'trap exit TERM; sleep 2147483647 & wait'];

export interface ContainerOptions {
  /** Made up unless given. */
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Idles until it is stopped unless given. */
  readonly command?: readonly string[];
  /** False: create only. */
  readonly start?: boolean;
  /** Anything else of the Engine's create call. */
  readonly create?: Docker.ContainerCreateOptions;
}

export interface TestContainer {
  readonly id: string;
  /** The Engine's name, without a slash. */
  readonly name: string;
  readonly docker: Docker.Container;
  /** Runs a command through the Engine itself, without execlet, to look at what a test has done. */
  exec(command: readonly string[]): Promise<{ exitCode: number; stdout: string; stderr: string }>;
  /** Removes the container, running or not. */
  remove(): Promise<void>;
}

/** Labels as the kubelet sets them on a container of a pod. */
export function kubernetesLabels(of: {
  namespace: string;
  pod: string;
  container: string;
  uid?: string;
}): Record<string, string> {
  return {
    'io.kubernetes.docker.type': 'container',
    'io.kubernetes.pod.namespace': of.namespace,
    'io.kubernetes.pod.name': of.pod,
    'io.kubernetes.container.name': of.container,
    ...(of.uid !== undefined && { 'io.kubernetes.pod.uid': of.uid }),
  };
}

/** The name that a kubelet with cri-dockerd gives a container. */
export function kubernetesName(of: {
  namespace: string;
  pod: string;
  container: string;
  uid: string;
  attempt: number;
}): string {
  return `k8s_${of.container}_${of.pod}_${of.namespace}_${of.uid}_${of.attempt}`;
}

/** Labels as Docker Compose sets them. */
export function composeLabels(of: { project: string; service: string; number: number }): Record<string, string> {
  return {
    'com.docker.compose.project': of.project,
    'com.docker.compose.service': of.service,
    'com.docker.compose.container-number': String(of.number),
  };
}

/** Makes a container, and starts it unless told otherwise. `marks` are the labels by which clean-up finds it. */
export async function createContainer(
  docker: Docker,
  { image, marks }: { image: string; marks: Readonly<Record<string, string>> },
  { name = uniqueName(), labels = {}, command = IDLE_COMMAND, start = true, create = {} }: ContainerOptions,
): Promise<TestContainer> {
  const container = await docker.createContainer({
    Image: image,
    Cmd: [...command],
    ...create,
    name,
    Labels: { ...labels, ...marks },
    HostConfig: { NetworkMode: 'none', ...create.HostConfig },
  });
  if (start) await container.start();
  return {
    id: container.id,
    name,
    docker: container,
    exec: argv => execDirectly(container, argv),
    remove: async () => {
      await container.remove({ force: true, v: true });
    },
  };
}

/** A name that no other container has. */
export function uniqueName(prefix = 'execlet-test'): string {
  return `${prefix}-${randomBytes(6).toString('hex')}`;
}

/** A client for `unix:///path` or `tcp://host:port`. */
export function dockerClient(dockerHost: string): Docker {
  const url = URL.parse(dockerHost);
  if (url?.protocol === 'unix:') return new Docker({ socketPath: url.pathname });
  if (url?.protocol === 'tcp:') return new Docker({ protocol: 'http', host: url.hostname, port: url.port || 2375 });
  throw new Error(`${dockerHost}: the tests speak to an Engine at unix:///path or tcp://host:port only`);
}

/** Removes the containers and the images that carry the label (`key=value`), and no other. */
export async function removeLabelled(dockerHost: string, label: string): Promise<void> {
  const docker = dockerClient(dockerHost);
  const filters = { label: [label] };
  for (const { Id } of await docker.listContainers({ all: true, filters })) {
    await docker.getContainer(Id).remove({ force: true, v: true });
  }
  for (const { Id } of await docker.listImages({ filters })) await docker.getImage(Id).remove({ force: true });
}

async function execDirectly(
  container: Docker.Container,
  command: readonly string[],
): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const exec = await container.exec({ Cmd: [...command], AttachStdout: true, AttachStderr: true });
  const stream = await exec.start({ hijack: true, stdin: false });
  const frames = await buffer(stream);
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  // Each frame: stream type, three zero bytes, the length as 32 bits, the payload.
  for (let at = 0; at + 8 <= frames.length;) {
    const end = at + 8 + frames.readUInt32BE(at + 4);
    (frames[at] === 2 ? stderr : stdout).push(frames.subarray(at + 8, end));
    at = end;
  }
  return {
    exitCode: await exitCodeOf(exec),
    stdout: Buffer.concat(stdout).toString(),
    stderr: Buffer.concat(stderr).toString(),
  };
}

async function exitCodeOf(exec: Docker.Exec): Promise<number> {
  const deadline = Date.now() + 10_000;
  // The Engine may say Running for a moment after the output has ended.
  while (Date.now() < deadline) {
    const { Running, ExitCode } = await exec.inspect();
    if (!Running && ExitCode !== null) return ExitCode;
    await delay(5);
  }
  throw new Error('the Engine says that the exec still runs, 10 s after its output ended');
}
