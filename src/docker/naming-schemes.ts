import { createHash } from 'node:crypto';
import type { ContainerRef } from '../exec/handler-registry.ts';

/** What a naming scheme reads of a container. */
export interface NameableContainer {
  /** Without the leading slash. */
  readonly engineName: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** How a container is called towards clients. */
export interface ContainerName {
  readonly scheme: NamingScheme;
  readonly ref: ContainerRef;
  readonly podUid: string;
  readonly attempt: number;
}

export type NamingScheme = 'kubernetes' | 'compose' | 'plain';

type NameOf = (container: NameableContainer) => { ref: ContainerRef; podUid?: string; attempt?: number } | undefined;

const SCHEMES: Readonly<Record<NamingScheme, NameOf>> = {
  /** The labels of dockershim and cri-dockerd. */
  kubernetes: ({ engineName, labels }) => {
    const ref = refOf(
      labels['io.kubernetes.pod.namespace'],
      labels['io.kubernetes.pod.name'],
      labels['io.kubernetes.container.name'],
    );
    if (ref === undefined) return undefined;
    const podUid = labels['io.kubernetes.pod.uid'];
    return { ref, attempt: attemptOf(engineName, labels), ...(podUid !== undefined && podUid !== '' && { podUid }) };
  },

  compose: ({ labels }) => {
    const service = labels['com.docker.compose.service'];
    const number = labels['com.docker.compose.container-number'] ?? '1';
    const ref = refOf(
      labels['com.docker.compose.project'],
      service === undefined ? '' : `${service}-${number}`,
      service,
    );
    return ref && { ref };
  },

  plain: ({ engineName }) => {
    const ref = refOf('default', engineName, engineName);
    return ref && { ref };
  },
};

/**
 * The container's name under the first scheme that names it, or nothing. Pod sandboxes have none under any scheme: nothing
 * runs in them.
 */
export function nameContainer(
  container: NameableContainer,
  schemes: readonly NamingScheme[],
): ContainerName | undefined {
  if (container.labels['io.kubernetes.docker.type'] === 'podsandbox') return undefined;
  for (const scheme of schemes) {
    const name = SCHEMES[scheme](container);
    if (name !== undefined) return { scheme, podUid: derivedUid(name.ref), attempt: 0, ...name };
  }
  return undefined;
}

/** A UID for pods that nobody gave one: the same for all containers of a pod, and for as long as it keeps its name. */
function derivedUid({ namespace, pod }: ContainerRef): string {
  const hex = createHash('sha256').update(`${namespace}/${pod}`).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  );
}

/** Labels can come from an image, so they may hold anything: what could not stand in a request's path names nothing. */
function refOf(namespace = '', pod = '', container = ''): ContainerRef | undefined {
  const nameable = [namespace, pod, container].every(part => /^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$/.test(part));
  return nameable ? { namespace, pod, container } : undefined;
}

/** From `k8s_{container}_{pod}_{namespace}_{uid}_{attempt}` or cri-dockerd's annotation; 0 where neither counts. */
function attemptOf(engineName: string, labels: Readonly<Record<string, string>>): number {
  const [, , , , , inName] = engineName.startsWith('k8s_') ? engineName.split('_') : [];
  const attempt = Number(inName ?? labels['annotation.io.kubernetes.container.restartCount']);
  return Number.isSafeInteger(attempt) && attempt >= 0 ? attempt : 0;
}
