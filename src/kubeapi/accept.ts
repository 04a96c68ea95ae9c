import type { TableVersion } from './pod-table.ts';

/** kubectl lists four; a hundred thousand would hold up every session. */
const MAX_ENTRIES = 100;

/** How a client wants pods: as objects or as a table; undefined when it takes neither as JSON. */
export type Representation = 'object' | { readonly table: TableVersion };

/**
 * The first of the client's `Accept` list that we can write, in the client's order. kubectl lists tables first and plain JSON
 * last; typed clients list protobuf before JSON.
 */
export function representationFor(accept: string | undefined): Representation | undefined {
  for (const entry of (accept ?? '*/*').split(',', MAX_ENTRIES)) {
    const [mediaType = '', ...parameters] = entry.split(';').map(part => part.trim());
    if (!['application/json', 'application/*', '*/*', ''].includes(mediaType.toLowerCase())) continue;
    const values = new Map(parameters.map((parameter): [string, string] => [nameOf(parameter), valueOf(parameter)]));
    if (!values.has('as')) return 'object';
    const version = values.get('v');
    const isTable = values.get('as') === 'Table' && values.get('g') === 'meta.k8s.io';
    if (isTable && (version === 'v1' || version === 'v1beta1')) return { table: version };
  }
  return undefined;
}

function nameOf(parameter: string): string {
  return (parameter.split('=')[0] ?? '').trim().toLowerCase();
}

function valueOf(parameter: string): string {
  return parameter.slice(parameter.indexOf('=') + 1).trim();
}
