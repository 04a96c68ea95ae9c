import { humanDuration } from '../human-duration.ts';
import { listVersionOf, type Pod } from './pods.ts';

/** The two versions of `meta.k8s.io` that clients ask tables of; they differ in name only. */
export type TableVersion = 'v1' | 'v1beta1';

/** How much of each pod a row repeats: the parameter `includeObject`. kubectl takes the namespace for `-A` from there. */
export type IncludeObject = 'None' | 'Metadata' | 'Object';

const column = (name: string, description: string, { priority = 0, format = '' } = {}): ColumnDefinition => ({
  name,
  type: 'string',
  format,
  description,
  priority,
});

interface ColumnDefinition {
  readonly name: string;
  readonly type: 'string';
  readonly format: string;
  readonly description: string;
  /** 0: always shown; 1: shown by `-o wide`. */
  readonly priority: number;
}

const COLUMNS: readonly ColumnDefinition[] = [
  column('Name', 'Name of the pod, unique within its namespace.', { format: 'name' }),
  column('Ready', 'How many of the containers accept an exec.'),
  column('Status', 'The aggregate status of the containers in this pod.'),
  column('Restarts', 'The number of times the containers in this pod have been restarted.'),
  column('Age', 'Time since the pod was created.'),
  column('IP', 'The address of the pod, which execlet does not know.', { priority: 1 }),
  column('Node', 'The node that the pod runs on.', { priority: 1 }),
  column('Nominated Node', 'Never set: execlet schedules nothing.', { priority: 1 }),
  column('Readiness Gates', 'Never set: execlet knows no readiness gates.', { priority: 1 }),
];

const NONE = '<none>';

/** The pods as a server-side table, cell for cell what an API server of Kubernetes 1.32 prints. `now` is in ms. */
export function podTableOf(
  pods: readonly Pod[],
  { version, includeObject, now }: { version: TableVersion; includeObject: IncludeObject; now: number },
): unknown {
  const apiVersion = `meta.k8s.io/${version}`;
  return {
    kind: 'Table',
    apiVersion,
    metadata: { resourceVersion: listVersionOf(pods) },
    columnDefinitions: COLUMNS,
    rows: pods.map(pod => ({
      cells: cellsOf(pod, now),
      ...(includeObject === 'None' ? {} : { object: includeObject === 'Object' ? pod : metadataOf(pod, apiVersion) }),
    })),
  };
}

function cellsOf({ metadata, spec, status }: Pod, now: number): string[] {
  const ready = status.containerStatuses.filter(container => container.ready).length;
  const waiting = status.containerStatuses.map(({ state }) => ('waiting' in state ? state.waiting.reason : undefined));
  const restarts = status.containerStatuses.reduce((sum, { restartCount }) => sum + restartCount, 0);
  return [
    metadata.name,
    `${ready}/${spec.containers.length}`,
    waiting.find(reason => reason !== undefined) ?? status.phase,
    String(restarts),
    humanDuration(now - Date.parse(metadata.creationTimestamp)),
    NONE,
    spec.nodeName,
    NONE,
    NONE,
  ];
}

function metadataOf({ metadata }: Pod, apiVersion: string): unknown {
  return { kind: 'PartialObjectMetadata', apiVersion, metadata };
}
