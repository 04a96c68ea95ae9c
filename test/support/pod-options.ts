import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type Docker from 'dockerode';
import type { Manifest } from './manifests.ts';
import { bytesOf, configFiles, type ConfigFiles, type Pod, type Volume } from './pod.ts';

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/** The node that a pod runs on, and the cluster that it is of. */
export interface Node {
  readonly name: string;
  readonly ip: string;
  /** Where a path of the node lies on this machine. */
  readonly paths: Readonly<Record<string, string>>;
  /** ConfigMaps that are not among the manifests. */
  readonly configMaps?: Readonly<Record<string, ConfigFiles>>;
  readonly apiServer: { readonly host: string; readonly port: number; readonly token: string; readonly ca: string };
  /** For files of volumes. */
  readonly directory: string;
}

/**
 * What a kubelet would ask the Engine for, to run that pod: image, arguments, environment, mounts, user, capabilities, pid mode, and
 * the root file system that is read-only.
 */
export async function createOptions(
  pod: Pod,
  manifests: readonly Manifest[],
  node: Node,
): Promise<Docker.ContainerCreateOptions> {
  const [{ image, args, env, securityContext, volumeMounts, resources }] = pod.containers;
  if (!pod.hostNetwork) throw new Error('a pod has no network of its own here');
  const fields = { 'status.hostIP': node.ip, 'spec.nodeName': node.name };
  const variables = Object.fromEntries(env.map(({ name, valueFrom }) => [name, fields[valueFrom.fieldRef.fieldPath]]));
  const expand = (text: string): string =>
    text.replaceAll(/\$\((\w+)\)/g, (whole, name: string) => variables[name] ?? whole);
  const binds: string[] = [];
  const tmpfs: Record<string, string> = {};
  for (const { name, mountPath, readOnly } of volumeMounts) {
    const volume = pod.volumes.find(each => each.name === name);
    if (volume === undefined) throw new Error(`there is no volume ${name}`);
    const source = await sourceOf(volume, manifests, node);
    if (source === undefined) tmpfs[mountPath] = 'rw,mode=1777';
    else binds.push(`${source}:${mountPath}${readOnly ? ':ro' : ''}`);
  }
  if (pod.automountServiceAccountToken) binds.push(`${await serviceAccount(node)}:${SERVICE_ACCOUNT}:ro`);
  const { runAsUser, runAsGroup, supplementalGroups, fsGroup } = pod.securityContext;
  return {
    Image: image,
    Cmd: args.map(expand),
    Env: Object.entries({
      ...variables,
      KUBERNETES_SERVICE_HOST: node.apiServer.host,
      KUBERNETES_SERVICE_PORT: String(node.apiServer.port),
    }).map(([name, value]) => `${name}=${value}`),
    User: `${runAsUser}:${runAsGroup}`,
    StopTimeout: pod.terminationGracePeriodSeconds,
    Healthcheck: { Test: ['NONE'] }, // probes are the kubelet's
    HostConfig: {
      NetworkMode: 'host',
      PidMode: pod.hostPID ? 'host' : '',
      ReadonlyRootfs: securityContext.readOnlyRootFilesystem,
      CapDrop: securityContext.capabilities.drop,
      CapAdd: securityContext.capabilities.add,
      SecurityOpt: securityContext.allowPrivilegeEscalation ? [] : ['no-new-privileges'],
      GroupAdd: [...supplementalGroups, ...(fsGroup === undefined ? [] : [fsGroup])].map(String),
      Memory: bytesOf(resources.limits.memory),
      Binds: binds,
      Tmpfs: tmpfs,
    },
  };
}

/** The path to mount; undefined for a fresh directory in memory. */
async function sourceOf(volume: Volume, manifests: readonly Manifest[], node: Node): Promise<string | undefined> {
  if (volume.emptyDir !== undefined) return undefined;
  if (volume.hostPath !== undefined) {
    const { path } = volume.hostPath;
    const here = node.paths[path];
    if (here === undefined) throw new Error(`the node has no ${path}`);
    return here;
  }
  return writeFiles(join(node.directory, volume.name), configFiles(volume, manifests, node.configMaps ?? {}) ?? {});
}

/** What every pod gets whose account is mounted: how to reach the API server, and as whom. */
async function serviceAccount(node: Node): Promise<string> {
  const { token, ca } = node.apiServer;
  return writeFiles(join(node.directory, 'service-account'), { token, 'ca.crt': ca, namespace: 'execlet' });
}

async function writeFiles(directory: string, files: ConfigFiles): Promise<string> {
  await mkdir(directory, { recursive: true, mode: 0o755 });
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text, { mode: 0o644 });
  return directory;
}
