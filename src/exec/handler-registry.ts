import { ExecletError } from '../errors.ts';
import type { ContainerEnd } from './container-end.ts';
import type { ExecHandler } from './handler.ts';

/** The name a client uses for a container. */
export interface ContainerRef {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
}

/** A running container that a naming scheme could name. */
export interface RegisteredContainer {
  readonly ref: ContainerRef;
  /** Derived from the pod's name where the naming scheme knows no UID. */
  readonly podUid: string;
  /** The naming scheme that named it. */
  readonly scheme: string;
  readonly containerId: string;
  /** The Engine's own name of the container, without a leading slash. */
  readonly engineName: string;
  /** How often the kubelet has restarted it; 0 where nobody counts. */
  readonly attempt: number;
  readonly image: string;
  readonly imageId: string;
  readonly createdAt: Date;
  readonly startedAt: Date;
  readonly paused: boolean;
  /** When the container stops or is removed, its sessions end with it. */
  readonly gone: ContainerEnd;
  readonly handler: ExecHandler;
}

/** What became of a container, in the Engine's terms, for the answer to an exec that comes too late. */
export type Fate =
  | { readonly kind: 'stopped'; readonly containerId: string; readonly detail: string }
  | { readonly kind: 'removed'; readonly containerId: string }
  | { readonly kind: 'renamed'; readonly containerId: string; readonly newName: string };

interface Remembered {
  readonly ref: ContainerRef;
  readonly fate: Fate;
  readonly at: number;
}

const REMEMBER_MS = 10 * 60 * 1000;
const REMEMBER_NAMES = 1024;

/**
 * namespace/pod/container → exec handler, for every running container that can be named.
 *
 * A name may be claimed by several containers at once (labels can come from an image, and a pod may be replaced before its
 * predecessor has gone). `resolve` says which one is meant; the others stay registered, so that the answer changes by itself
 * when the first goes.
 */
export class HandlerRegistry {
  readonly #pods = new Map<string, Map<string, RegisteredContainer[]>>();
  /** By name, oldest first: Map keeps insertion order, and a name is deleted before it is set again. */
  readonly #remembered = new Map<string, Remembered>();
  readonly #now: () => number;

  constructor(options: { now?: () => number } = {}) {
    this.#now = options.now ?? Date.now;
  }

  /** Adds the container. The returned function removes this registration, no later one of the same name. */
  register(container: RegisteredContainer): () => void {
    const { ref } = container;
    const podKey = keyOf(ref.namespace, ref.pod);
    const pod = this.#pods.get(podKey) ?? new Map<string, RegisteredContainer[]>();
    this.#pods.set(podKey, pod);
    pod.set(ref.container, [...(pod.get(ref.container) ?? []), container].sort(preferredFirst));
    this.#remembered.delete(keyOf(ref.namespace, ref.pod, ref.container));
    return () => {
      const others = (pod.get(ref.container) ?? []).filter(other => other !== container);
      if (others.length > 0) pod.set(ref.container, others);
      else pod.delete(ref.container);
      if (pod.size === 0 && this.#pods.get(podKey) === pod) this.#pods.delete(podKey);
    };
  }

  /** Remembers what became of a name: for 10 minutes, and at most 1 024 names, the oldest forgotten first. */
  remember(ref: ContainerRef, fate: Fate): void {
    const key = keyOf(ref.namespace, ref.pod, ref.container);
    this.#remembered.delete(key);
    this.#remembered.set(key, { ref, fate, at: this.#now() });
    for (const [oldest, { at }] of this.#remembered) {
      if (this.#remembered.size <= REMEMBER_NAMES && this.#now() - at <= REMEMBER_MS) break;
      this.#remembered.delete(oldest);
    }
  }

  /** A stopped container, remembered as such, has now been removed. */
  rememberRemoved(containerId: string): void {
    for (const { ref, fate } of [...this.#remembered.values()]) {
      if (fate.containerId === containerId && fate.kind === 'stopped')
        this.remember(ref, { kind: 'removed', containerId });
    }
  }

  /**
   * The container that a request means.
   *
   * Without a container name the pod's only container is meant. Among several of one name: the one of `podUid` where it is
   * given; else as `preferredFirst` orders them.
   *
   * @throws {ExecletError} HandlerNotFound, ContainerNotRunning (stopped or paused: the message says which), or
   * BadExecRequest when a container must be named
   */
  resolve(target: {
    namespace: string;
    pod: string;
    container?: string | undefined;
    podUid?: string | undefined;
  }): RegisteredContainer {
    const pod = this.#pods.get(keyOf(target.namespace, target.pod));
    const container = target.container ?? this.#theOnlyContainer(target);
    const claims = pod?.get(container) ?? [];
    const found = target.podUid === undefined ? claims[0] : claims.find(({ podUid }) => podUid === target.podUid);
    if (found === undefined) throw this.#notFound({ ...target, container }, pod, claims);
    if (found.paused) {
      throw new ExecletError(
        'ContainerNotRunning',
        `Container ${found.containerId} is paused, unpause the container before exec`,
      );
    }
    return found;
  }

  /** The container that is meant where a pod's only one need not be named; undefined when the pod has not exactly one. */
  onlyContainer(namespace: string, pod: string): string | undefined {
    const names = this.#containerNames(namespace, pod);
    return names.length === 1 ? names[0] : undefined;
  }

  /** What became of a pod that has no running container any more, as far as it is remembered. */
  fateOfPod(namespace: string, pod: string): string | undefined {
    const [container] = this.#rememberedContainers(namespace, pod);
    if (container === undefined) return undefined;
    const remembered = this.#remembered.get(keyOf(namespace, pod, container));
    return remembered && becameOf(container, remembered.fate).message;
  }

  /** Every registered container, in the order of namespace, pod, container and preference. */
  list(): RegisteredContainer[] {
    return [...this.#pods.values()]
      .flatMap(pod => [...pod.values()].flat())
      .sort((a, b) => compareRefs(a.ref, b.ref) || preferredFirst(a, b));
  }

  #theOnlyContainer({ namespace, pod }: { namespace: string; pod: string }): string {
    const names = this.#containerNames(namespace, pod);
    const [only, ...more] = names;
    if (only === undefined) throw podNotFound();
    if (more.length > 0) {
      throw new ExecletError(
        'BadExecRequest',
        `a container name must be specified for pod ${pod}, choose one of: [${names.join(' ')}]`,
      );
    }
    return only;
  }

  /** Those that run, else those that are remembered. */
  #containerNames(namespace: string, pod: string): string[] {
    const running = [...(this.#pods.get(keyOf(namespace, pod))?.keys() ?? [])].sort();
    return running.length > 0 ? running : this.#rememberedContainers(namespace, pod);
  }

  #rememberedContainers(namespace: string, pod: string): string[] {
    return [...this.#remembered.values()]
      .filter(({ ref, at }) => ref.namespace === namespace && ref.pod === pod && this.#now() - at <= REMEMBER_MS)
      .map(({ ref }) => ref.container)
      .sort();
  }

  #notFound(
    { namespace, pod: name, container, podUid }: ContainerRef & { podUid?: string | undefined },
    pod: Map<string, RegisteredContainer[]> | undefined,
    claims: readonly RegisteredContainer[],
  ): ExecletError {
    if (claims.length > 0) {
      return new ExecletError(
        'HandlerNotFound',
        `pod "${name}" in namespace "${namespace}" has no UID ${podUid ?? ''} here`,
      );
    }
    const remembered = this.#remembered.get(keyOf(namespace, name, container));
    if (remembered !== undefined && this.#now() - remembered.at <= REMEMBER_MS)
      return becameOf(container, remembered.fate);
    if (pod === undefined) return podNotFound();
    return new ExecletError('HandlerNotFound', `container not found ("${container}")`);
  }
}

function becameOf(container: string, fate: Fate): ExecletError {
  switch (fate.kind) {
    case 'stopped':
      return new ExecletError('ContainerNotRunning', `Container ${fate.containerId} is not running: ${fate.detail}`);
    case 'removed':
      return new ExecletError('HandlerNotFound', `container not found ("${container}"): it was removed`);
    case 'renamed':
      return new ExecletError(
        'HandlerNotFound',
        `container not found ("${container}"): it was renamed to ${fate.newName}`,
      );
  }
}

function podNotFound(): ExecletError {
  return new ExecletError('HandlerNotFound', 'pod does not exist'); // the kubelet's words
}

/** A kubelet's own container (`k8s_…`) first, then the highest attempt, then the newest start. */
function preferredFirst(a: RegisteredContainer, b: RegisteredContainer): number {
  const ofKubelet = Number(b.engineName.startsWith('k8s_')) - Number(a.engineName.startsWith('k8s_'));
  return ofKubelet || b.attempt - a.attempt || b.startedAt.getTime() - a.startedAt.getTime();
}

function compareRefs(a: ContainerRef, b: ContainerRef): number {
  return compare(a.namespace, b.namespace) || compare(a.pod, b.pod) || compare(a.container, b.container);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** NUL can stand in no name that arrives in a URL path or a label we accept. */
function keyOf(...parts: string[]): string {
  return parts.join('\0');
}
