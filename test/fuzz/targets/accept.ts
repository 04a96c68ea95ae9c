import assert from 'node:assert/strict';
import fc from 'fast-check';
import { representationFor } from '../../../src/kubeapi/accept.ts';
import type { FuzzTarget } from '../target.ts';

/** Entries of an Accept header, and what each asks for by itself. */
export const ACCEPT_ENTRIES = new Map<string, ReturnType<typeof representationFor>>([
  ['application/json', 'object'],
  ['Application/JSON ; q=0.9', 'object'],
  ['application/*', 'object'],
  ['*/*', 'object'],
  ['application/json;as=Table;v=v1;g=meta.k8s.io', { table: 'v1' }],
  ['application/json;g=meta.k8s.io; v=v1beta1 ;as=Table', { table: 'v1beta1' }],
  ['application/json;as=Table;v=v2;g=meta.k8s.io', undefined],
  ['application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io', undefined],
  ['application/vnd.kubernetes.protobuf', undefined],
  ['text/html', undefined],
]);

/** Any Accept header asks for what we can write, or for nothing of it; the first entry that we can write wins. */
export const accept: FuzzTarget = {
  name: 'accept',
  sources: ['kubeapi/accept.ts'],
  tokens: [...ACCEPT_ENTRIES.keys(), ',', ';', '=', 'as', 'as=Table', 'v=v1', 'g=meta.k8s.io', ' ', '"'],
  nearlyRight: fc
    .array(fc.oneof(fc.constantFrom(...ACCEPT_ENTRIES.keys()), fc.string()), { maxLength: 4 })
    .map(entries => entries.join(',')),
  check: input => {
    const header = input.toString('latin1');
    const [first] = header
      .split(',')
      .map(entry => representationFor(entry))
      .filter(representation => representation !== undefined);
    const representation = representationFor(header);
    assert.deepEqual(representation, first);
    if (typeof representation === 'object') assert.match(header, /Table/);
    if (representation !== undefined) assert.match(header, /json|\*|^\s*[,;]|,\s*[,;]|,\s*$|^\s*$/i);
    for (const [entry, alone] of ACCEPT_ENTRIES) {
      if (alone !== undefined) assert.deepEqual(representationFor(`${entry},${header}`), alone);
      else assert.deepEqual(representationFor(`${entry},${header}`), representation);
    }
  },
};
