import assert from 'node:assert/strict';
import { ExecletError } from '../../../src/errors.ts';
import { podsOf, type Pod } from '../../../src/kubeapi/pods.ts';
import { parseFieldSelector, parseLabelSelector, type PodFilter } from '../../../src/kubeapi/selectors.ts';
import { fakeContainer } from '../../support/fake-registry.ts';
import { outcomeOf, type FuzzTarget } from '../target.ts';

const MAX_SELECTOR_LENGTH = 64 * 1024;

/** A pod of those labels. */
export function labelledPod(labels: Record<string, string>): Pod {
  const [pod] = podsOf([fakeContainer('ns', 'web', 'c')], 'node-1');
  assert.ok(pod !== undefined);
  return { ...pod, metadata: { ...pod.metadata, labels } };
}

const PODS = [labelledPod({}), labelledPod({ app: 'web', 'example.com/tier': 'front', empty: '' })];

/** Any text selects pods or is a BadExecRequest, as a field selector and as a label selector. */
export const selectors: FuzzTarget = {
  name: 'selectors',
  sources: ['kubeapi/selectors.ts'],
  tokens: [
    ...[
      'app',
      'web',
      'example.com/tier',
      'empty',
      '=',
      '==',
      '!=',
      '!',
      ',',
      ' ',
      ' in ',
      ' notin ',
      '(',
      ')',
      '(web,db)',
    ],
    ...[
      'metadata.name',
      'metadata.namespace',
      'spec.nodeName',
      'status.phase',
      'ns',
      'Running',
      '\n',
      '\t',
      '/',
      '-',
      '_',
    ],
  ],
  check: input => {
    const selector = input.toString();
    for (const parse of [parseFieldSelector, parseLabelSelector]) {
      const parsed = outcomeOf(() => parse(selector), ExecletError);
      if ('error' in parsed) assert.equal(parsed.error.code, 'BadExecRequest');
      else checkFilter(parse, selector, parsed.value);
    }
  },
};

/** An accepted selector also says the same behind another, and its opposite leaves out what it selects. */
function checkFilter(parse: (selector: string) => PodFilter, selector: string, selects: PodFilter): void {
  if (selector.length < MAX_SELECTOR_LENGTH / 2 - 3) {
    const twice = parse(`${selector} , ${selector}`);
    for (const pod of PODS) assert.equal(twice(pod), selects(pod));
  }
  if (/^[^=!,()]+=[^=!,()]*$/.test(selector)) {
    const opposite = parse(selector.replace('=', '!='));
    for (const pod of PODS) assert.notEqual(opposite(pod), selects(pod));
  }
}
