import type { RegisteredContainer } from '../exec/handler-registry.ts';

/** A Pod of the Kubernetes API, with the fields that a registry of running containers can fill. */
export interface Pod {
  readonly kind: 'Pod';
  readonly apiVersion: 'v1';
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly creationTimestamp: string;
    readonly labels: Readonly<Record<string, string>>;
  };
  readonly spec: {
    readonly containers: readonly { readonly name: string; readonly image: string }[];
    readonly nodeName: string;
    /** Never absent from an API server's pod: kubectl 1.33 debug looks into it, and panics where there is none. */
    readonly securityContext: Record<string, never>;
  };
  readonly status: {
    readonly phase: 'Running';
    readonly startTime: string;
    /** Ready alone: `kubectl wait` asks for it. */
    readonly conditions: readonly { readonly type: 'Ready'; readonly status: 'True' | 'False' }[];
    readonly containerStatuses: readonly ContainerStatus[];
  };
}

interface ContainerStatus {
  readonly name: string;
  readonly ready: boolean;
  readonly started: boolean;
  readonly restartCount: number;
  readonly state:
    | { readonly running: { readonly startedAt: string } }
    | { readonly waiting: { readonly reason: string; readonly message: string } };
  readonly lastState: Record<string, never>;
  readonly image: string;
  readonly imageID: string;
  readonly containerID: string;
}

/**
 * The pods that these containers make up, in the order of `HandlerRegistry.list`.
 *
 * Two pod UIDs under one name are two pods, the one that an exec would reach first. Of several containers that claim one name
 * only that one is shown.
 */
export function podsOf(containers: readonly RegisteredContainer[], nodeName: string): Pod[] {
  const pods = new Map<string, Map<string, RegisteredContainer>>();
  for (const container of containers) {
    const { namespace, pod, container: name } = container.ref;
    const key = [namespace, pod, container.podUid].join('\0');
    const members = pods.get(key) ?? new Map<string, RegisteredContainer>();
    pods.set(key, members);
    if (!members.has(name)) members.set(name, container);
  }
  return [...pods.values()].flatMap(members => {
    const [first, ...others] = members.values();
    return first === undefined ? [] : [podOf(first, [first, ...others], nodeName)];
  });
}

/** A PodList. `resourceVersion` only tells states apart: nothing can be watched from it. */
export function podListOf(items: readonly Pod[]): {
  kind: 'PodList';
  apiVersion: 'v1';
  metadata: { resourceVersion: string };
  items: readonly Pod[];
} {
  return { kind: 'PodList', apiVersion: 'v1', metadata: { resourceVersion: listVersionOf(items) }, items };
}

/** The newest `resourceVersion` among the pods; never 0, which Kubernetes reads as "any". */
export function listVersionOf(items: readonly Pod[]): string {
  return String(items.reduce((newest, { metadata }) => Math.max(newest, Number(metadata.resourceVersion)), 1));
}

function podOf(first: RegisteredContainer, containers: readonly RegisteredContainer[], nodeName: string): Pod {
  const starts = containers.map(({ startedAt }) => startedAt.getTime());
  const statuses = containers.map(statusOf);
  const created = containers.map(({ createdAt }) => createdAt.getTime());
  return {
    kind: 'Pod',
    apiVersion: 'v1',
    metadata: {
      name: first.ref.pod,
      namespace: first.ref.namespace,
      uid: first.podUid,
      resourceVersion: String(Math.max(1, ...starts)),
      creationTimestamp: timestamp(Math.min(...created)),
      labels: {},
    },
    spec: {
      containers: containers.map(({ ref, image }) => ({ name: ref.container, image })),
      nodeName,
      securityContext: {},
    },
    status: {
      phase: 'Running',
      startTime: timestamp(Math.min(...starts)),
      conditions: [{ type: 'Ready', status: statuses.every(({ ready }) => ready) ? 'True' : 'False' }],
      containerStatuses: statuses,
    },
  };
}

function statusOf(container: RegisteredContainer): ContainerStatus {
  const { ref, paused, attempt, startedAt, image, imageId, containerId } = container;
  return {
    name: ref.container,
    ready: !paused,
    started: true,
    restartCount: attempt,
    state: paused
      ? { waiting: { reason: 'Paused', message: 'the container is paused' } }
      : { running: { startedAt: timestamp(startedAt.getTime()) } },
    lastState: {},
    image,
    imageID: `docker://${imageId}`,
    containerID: `docker://${containerId}`,
  };
}

/** Kubernetes writes whole seconds; Go's decoders refuse nothing else, but people compare. */
function timestamp(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
