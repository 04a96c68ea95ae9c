import { z } from 'zod';
import { requestJson } from './api-request.ts';
import { ClientError } from './client-error.ts';
import type { Connection } from './connection.ts';
import { TextTable } from './text-table.ts';

/** One pod as `execlet pods` shows it; ready, status, restarts and age as the server wrote them for `kubectl get`. */
export interface PodRow {
  readonly namespace: string;
  readonly name: string;
  readonly containers: readonly string[];
  readonly ready: string;
  readonly status: string;
  readonly restarts: string;
  readonly age: string;
}

const cell = z.union([z.string(), z.number()]).transform(String);
const table = z.object({
  kind: z.literal('Table'),
  columnDefinitions: z.array(z.object({ name: z.string() })),
  rows: z.array(
    z.object({
      cells: z.array(cell.catch('')),
      object: z.object({
        metadata: z.object({ namespace: z.string(), name: z.string() }),
        spec: z.object({ containers: z.array(z.object({ name: z.string() })) }),
      }),
    }),
  ),
});

/** The PodList of a namespace, or of all, as the server sent it. */
export function fetchPodList(connection: Connection, namespace?: string): Promise<unknown> {
  return requestJson(connection, podsPath(namespace));
}

/** The pods of a namespace, or of all: the server's table, with the objects for what it does not show. */
export async function fetchPodRows(connection: Connection, namespace?: string): Promise<PodRow[]> {
  const answer = await requestJson(connection, podsPath(namespace), {
    accept: 'application/json;as=Table;v=v1;g=meta.k8s.io',
    query: new URLSearchParams({ includeObject: 'Object' }),
  });
  const parsed = table.safeParse(answer);
  if (!parsed.success) throw new ClientError(`${connection.server.origin} did not answer with a table of pods`);
  const { columnDefinitions, rows } = parsed.data;
  return rows.map(({ cells, object }) => {
    const cellOf = (column: string): string => cells[columnDefinitions.findIndex(({ name }) => name === column)] ?? '';
    return {
      namespace: object.metadata.namespace,
      name: object.metadata.name,
      containers: object.spec.containers.map(({ name }) => name),
      ready: cellOf('Ready'),
      status: cellOf('Status'),
      restarts: cellOf('Restarts'),
      age: cellOf('Age'),
    };
  });
}

const HEADINGS = ['NAMESPACE', 'POD', 'CONTAINERS', 'READY', 'STATUS', 'RESTARTS', 'AGE'];

/** Aligned columns under headings; ends with a newline. */
export function formatPodTable(pods: readonly PodRow[]): string {
  const table = new TextTable(HEADINGS);
  return table.lines(
    pods.map(pod => [pod.namespace, pod.name, pod.containers.join(','), pod.ready, pod.status, pod.restarts, pod.age]),
  );
}

function podsPath(namespace?: string): string {
  return namespace === undefined ? '/api/v1/pods' : `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods`;
}
