import { ContainerEnd } from '../../src/exec/container-end.ts';
import { HandlerRegistry, type RegisteredContainer } from '../../src/exec/handler-registry.ts';

const NEVER_GONE = new ContainerEnd();

/** A registered container with plain values; its handler answers every exec with exit code 0. */
export function fakeContainer(
  namespace: string,
  pod: string,
  container: string,
  fields: Partial<RegisteredContainer> = {},
): RegisteredContainer {
  const containerId = `${namespace}-${pod}-${container}`;
  return {
    ref: { namespace, pod, container },
    podUid: `uid-of-${namespace}-${pod}`,
    scheme: 'kubernetes',
    containerId,
    engineName: `k8s_${container}_${pod}_${namespace}`,
    attempt: 0,
    image: 'busybox:latest',
    imageId: 'sha256:0123',
    createdAt: new Date('2026-01-02T03:04:05.678Z'),
    startedAt: new Date('2026-01-02T03:04:06.789Z'),
    paused: false,
    gone: NEVER_GONE,
    handler: { exec: () => Promise.resolve({ exitCode: 0, source: 'event' }) },
    ...fields,
  };
}

export function registryOf(...containers: readonly RegisteredContainer[]): HandlerRegistry {
  const registry = new HandlerRegistry();
  for (const container of containers) registry.register(container);
  return registry;
}
