import assert from 'node:assert/strict';
import fc from 'fast-check';
import { nameContainer, type ContainerName, type NamingScheme } from '../../../src/docker/naming-schemes.ts';
import { parseExecPath } from '../../../src/server/exec-request.ts';
import type { FuzzTarget } from '../target.ts';

const SCHEMES: readonly NamingScheme[] = ['kubernetes', 'compose', 'plain'];
const KEYS = [
  'io.kubernetes.docker.type',
  'io.kubernetes.pod.namespace',
  'io.kubernetes.pod.name',
  'io.kubernetes.pod.uid',
  'io.kubernetes.container.name',
  'annotation.io.kubernetes.container.restartCount',
  'com.docker.compose.project',
  'com.docker.compose.service',
  'com.docker.compose.container-number',
];

/** The first line is the Engine's name of the container, the others are labels, `KEY=VALUE`. */
export const namingSchemes: FuzzTarget = {
  name: 'naming-schemes',
  sources: ['docker/naming-schemes.ts'],
  tokens: [
    ...KEYS.map(key => `\n${key}=`),
    'k8s_app_web_ns_uid_3',
    '_',
    '7',
    '\n',
    'podsandbox',
    '/',
    '..',
    'ü',
    'web-0',
  ],
  nearlyRight: fc
    .tuple(
      fc.constantFrom('k8s_app_web_ns_uid_3', 'k8s_app', 'box', ''),
      fc.array(
        fc
          .tuple(fc.constantFrom(...KEYS), fc.oneof(fc.constantFrom('web-0', 'a.b', '3', 'podsandbox'), fc.string()))
          .map(label => label.join('=')),
      ),
    )
    .map(([name, labels]) => [name, ...labels].join('\n')),
  check: input => {
    const [engineName = '', ...lines] = input.toString().split('\n');
    const labels = Object.fromEntries(
      lines.map(line => [line.slice(0, Math.max(0, line.indexOf('='))), line.slice(line.indexOf('=') + 1)]),
    );
    const alone = SCHEMES.map(scheme => nameContainer({ engineName, labels }, [scheme]));
    for (const name of alone) if (name !== undefined) checkName(name, engineName, labels);
    const first = alone.find(name => name !== undefined);
    assert.deepEqual(nameContainer({ engineName, labels }, SCHEMES), first, 'the first scheme that names it wins');
    if (labels['io.kubernetes.docker.type'] === 'podsandbox') assert.equal(first, undefined);
  },
};

function checkName(
  { scheme, ref, podUid, attempt }: ContainerName,
  engineName: string,
  labels: Readonly<Record<string, string>>,
): void {
  const { namespace, pod, container } = ref;
  assert.deepEqual(parseExecPath(`/exec/${namespace}/${pod}/${container}`), { form: 'kubelet', ...ref });
  assert.notEqual(podUid, '');
  assert.ok(Number.isSafeInteger(attempt) && attempt >= 0);
  const service = labels['com.docker.compose.service'];
  const expected = {
    kubernetes: KEYS.slice(1)
      .map(key => labels[key])
      .toSpliced(2, 1)
      .slice(0, 3),
    compose: [
      labels['com.docker.compose.project'],
      `${service}-${labels['com.docker.compose.container-number'] ?? '1'}`,
      service,
    ],
    plain: ['default', engineName, engineName],
  };
  assert.deepEqual([namespace, pod, container], expected[scheme]);
}
