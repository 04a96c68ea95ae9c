import { chmod, mkdir, readFile } from 'node:fs/promises';
import { get } from 'node:https';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type Docker from 'dockerode';
import { temporaryDirectory } from './cleanup.ts';
import type { TestEngine } from './engine.ts';
import type { Manifest } from './manifests.ts';
import { createOptions, type Node } from './pod-options.ts';
import { podOf, type Pod } from './pod.ts';

const LIVE_TIMEOUT_MS = 30_000;

/** execlet in a container, as the pod of a manifest is. */
export interface RunningPod {
  /** `https://IP:10350` */
  readonly url: string;
  readonly container: Docker.Container;
  /** Its process on this host. */
  readonly pid: number;
  /** The certificate that it has made for itself, where the node keeps it. */
  readonly certificateFile: string;
  /** What it has written to stderr. */
  log(): Promise<string>;
  remove(): Promise<void>;
}

/** The node and the cluster, but for what the runner makes up itself. */
export type NodeOptions = Pick<Node, 'name' | 'ip' | 'apiServer'> & {
  readonly engine: TestEngine;
  /** CA certificates (PEM): of the cluster, on the node, and of users. */
  readonly clusterCaFile: string;
  readonly clientCa: string;
};

/** Runs the pod of those manifests, changed as told, and waits until its liveness probe would succeed. */
export async function runPod(
  manifests: readonly Manifest[],
  { engine, clusterCaFile, clientCa, ...of }: NodeOptions,
  change: (pod: Pod) => Pod = pod => pod,
): Promise<RunningPod> {
  const directory = await temporaryDirectory('node');
  await chmod(directory.path, 0o755); // whoever the pod runs as looks into it
  const state = join(directory.path, 'state');
  await mkdir(state);
  const options = await createOptions(change(podOf(manifests)), manifests, {
    ...of,
    paths: {
      '/var/run/docker.sock': engine.dockerHost.replace('unix://', ''),
      '/var/lib/execlet': state,
      '/etc/kubernetes/pki/ca.crt': clusterCaFile,
    },
    configMaps: { 'execlet-client-ca': { 'ca.crt': clientCa } },
    directory: directory.path,
  });
  const container = await engine.docker.createContainer(options);
  const log = async (): Promise<string> => (await container.logs({ stdout: false, stderr: true })).toString();
  const remove = async (): Promise<void> => {
    await container.remove({ force: true });
    await directory.remove();
  };
  try {
    await container.start();
    const { State } = await container.inspect();
    const url = `https://${of.ip}:10350`;
    await untilLive(url);
    return { url, container, pid: State.Pid, certificateFile: join(state, 'pki', 'execlet.crt'), log, remove };
  } catch (cause) {
    const said = await log();
    await remove();
    throw new Error(`the pod does not live: ${said}`, { cause });
  }
}

/** Asks as a kubelet's probe does: whose certificate it is does not matter. */
export async function probe(url: string): Promise<{ status: number; body: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; body: string }>();
  get(url, { agent: false, rejectUnauthorized: false }, response => {
    let body = '';
    response.setEncoding('utf8').on('data', (text: string) => (body += text));
    response.on('end', () => resolve({ status: response.statusCode ?? 0, body })).on('error', reject);
  }).on('error', reject);
  return promise;
}

async function untilLive(url: string): Promise<void> {
  const deadline = Date.now() + LIVE_TIMEOUT_MS;
  for (;;) {
    const answer = await probe(`${url}/livez`).catch((cause: unknown) => cause);
    if (typeof answer === 'object' && answer !== null && 'status' in answer && answer.status === 200) return;
    if (Date.now() > deadline) throw new Error(`no /livez within ${LIVE_TIMEOUT_MS} ms: ${String(answer)}`);
    await delay(100);
  }
}

/** What the kernel says of a process (proc(5), status). */
export async function processStatus(pid: number): Promise<Readonly<Record<string, string>>> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Object.fromEntries([...status.matchAll(/^(\w+):\t(.*)$/gm)].map(([, name = '', value = '']) => [name, value]));
}
