import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { describe, test } from 'node:test';
import { PodMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor';
import { PrometheusRule } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule';
import { DaemonSet } from 'kubernetes-models/apps/v1/DaemonSet';
import { ClusterRole } from 'kubernetes-models/rbac.authorization.k8s.io/v1/ClusterRole';
import { ClusterRoleBinding } from 'kubernetes-models/rbac.authorization.k8s.io/v1/ClusterRoleBinding';
import { ConfigMap } from 'kubernetes-models/v1/ConfigMap';
import { Namespace } from 'kubernetes-models/v1/Namespace';
import { Secret } from 'kubernetes-models/v1/Secret';
import { Service } from 'kubernetes-models/v1/Service';
import { ServiceAccount } from 'kubernetes-models/v1/ServiceAccount';
import { parse } from 'yaml';
import { z } from 'zod';
import { loadSettings } from '../../src/config/load.ts';
import { SETTINGS, type Settings } from '../../src/config/schema.ts';
import { DEFAULT_CERT_DIR } from '../../src/files/cert-dir.ts';
import { isHealthPath } from '../../src/server/health.ts';
import { VERSION } from '../../src/version.ts';
import { Authority } from '../support/authority.ts';
import { CHECKOUT } from '../support/checkout.ts';
import { unknownFields } from '../support/known-fields.ts';
import { deployments, manifestOf, renderManifests, type Manifest } from '../support/manifests.ts';
import { configFiles, podOf, type Pod } from '../support/pod.ts';

/** Every kind in deploy/, with its JSON schema. */
const SCHEMAS = {
  ClusterRole,
  ClusterRoleBinding,
  ConfigMap,
  DaemonSet,
  Namespace,
  PodMonitor,
  PrometheusRule,
  Secret,
  Service,
  ServiceAccount,
};
/** After the drain the clients are told, and the Engine needs some time for its answers. */
const TELLING_MS = 10_000;
const KILL_STEPS = 2;

const { certificate: ca } = await Authority.create('users');
const BESIDE = { 'execlet-client-ca': { 'ca.crt': ca } };

function isKnownKind(kind: string): kind is keyof typeof SCHEMAS {
  return Object.hasOwn(SCHEMAS, kind);
}

/** The settings that the pod's execlet would have, with what is mounted there for files. */
function settingsOf(pod: Pod, manifests: readonly Manifest[]): Settings {
  const [{ args, volumeMounts }] = pod.containers;
  const [command, ...flags] = args;
  assert.equal(command, 'serve');
  const given = flags.map(flag => /^--([^=]+)=(.*)$/.exec(flag) ?? assert.fail(`${flag} is not --FLAG=VALUE`));
  const readFile = (path: string): string => {
    const mount = volumeMounts.find(({ mountPath }) => mountPath === path || mountPath === dirname(path));
    const volume = pod.volumes.find(({ name }) => name === mount?.name);
    assert.ok(volume !== undefined, `${path} is not mounted`);
    if (volume.hostPath !== undefined) return ca;
    const text = configFiles(volume, manifests, BESIDE)?.[path.slice(dirname(path).length + 1)];
    assert.ok(text !== undefined, `${path} is not there`);
    return text;
  };
  return loadSettings({
    flags: Object.fromEntries(
      given.map(([, flag = '', value = '']) => {
        assert.ok(flag === 'config' || SETTINGS.some(setting => setting.flag === `--${flag}`), `there is no --${flag}`);
        const key = flag.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
        return [key, value.replace('$(HOST_IP)', '192.0.2.7').replace('$(NODE_NAME)', 'node-1')];
      }),
    ),
    env: {},
    readFile,
  });
}

const rendered: [directory: string, manifests: Manifest[]][] = [];
for (const directory of await deployments()) rendered.push([directory, await renderManifests(directory)]);

for (const [directory, manifests] of rendered) {
  describe(`deploy/${directory}`, () => {
    const pod = podOf(manifests);
    const [container] = pod.containers;
    const settings = settingsOf(pod, manifests);

    test('is valid by the JSON schemas of Kubernetes, and has no field that Kubernetes does not know', () => {
      for (const manifest of manifests) {
        const { kind, apiVersion } = manifest;
        assert.ok(isKnownKind(kind), kind);
        const schema = SCHEMAS[kind];
        assert.equal(apiVersion, schema.apiVersion, kind);
        new schema(manifest as never).validate();
        assert.deepEqual(unknownFields(manifest, `V1${kind}`), [], kind);
      }
    });

    test('what it names is there', () => {
      const mounted = container.volumeMounts.map(({ name }) => name).sort();
      assert.deepEqual(mounted, pod.volumes.map(({ name }) => name).sort());
      for (const volume of pod.volumes) configFiles(volume, manifests, BESIDE);
      manifestOf(manifests, 'ServiceAccount', pod.serviceAccountName);
      for (const { kind, metadata, ...rest } of manifests) {
        if (kind !== 'Namespace' && !kind.startsWith('Cluster')) assert.equal(metadata.namespace, 'execlet', kind);
        if (kind !== 'ClusterRoleBinding') continue;
        const { roleRef, subjects } = binding.parse(rest);
        manifestOf(manifests, roleRef.kind, roleRef.name);
        for (const { name, namespace } of subjects) {
          assert.equal(manifestOf(manifests, 'ServiceAccount', name).metadata.namespace, namespace);
        }
      }
    });

    test('flags, port, probes and mounts are those of the program', () => {
      const [port] = container.ports;
      assert.deepEqual([port?.containerPort, port?.hostPort], [settings.port, settings.port]);
      for (const { httpGet } of [container.startupProbe, container.livenessProbe, container.readinessProbe]) {
        assert.ok(isHealthPath(httpGet.path), httpGet.path);
        assert.equal(httpGet.port, port?.name);
      }
      const mounts = container.volumeMounts.map(({ mountPath }) => mountPath);
      assert.ok(mounts.includes(dirname(DEFAULT_CERT_DIR)), 'the certificate has no place');
      assert.equal(settings.dockerEndpoint.text, 'unix:///var/run/docker.sock');
      assert.ok(mounts.includes('/var/run/docker.sock'), 'the socket is not mounted');
    });

    test('the kubelet waits longer than a stop may take', () => {
      const atMost = settings.drainTimeoutMs + TELLING_MS + KILL_STEPS * settings.killGracePeriodMs;
      assert.ok(pod.terminationGracePeriodSeconds * 1000 > atMost, `${pod.terminationGracePeriodSeconds} s`);
    });

    test('takes no more than it needs, and says which version it is', () => {
      const { capabilities, ...rest } = container.securityContext;
      assert.deepEqual(rest, { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true });
      assert.deepEqual(capabilities, { drop: ['ALL'], add: pod.securityContext.runAsUser === 0 ? ['KILL'] : [] });
      assert.match(container.image, new RegExp(`^execlet:${VERSION}$`));
      const enforced = manifestOf(manifests, 'Namespace').metadata.labels ?? {};
      assert.equal(enforced['pod-security.kubernetes.io/enforce'], 'privileged');
      const roles = manifests.filter(({ kind, metadata }) => kind === 'ClusterRole' && metadata.name === 'execlet');
      const asks = settings.authorizationMode === 'Webhook' || settings.authenticationTokenWebhook;
      assert.equal(roles.length, asks ? 1 : 0);
      for (const role of roles) assert.deepEqual(role.rules, REVIEWS);
    });
  });
}

const binding = z.looseObject({
  roleRef: z.object({ kind: z.string(), name: z.string() }),
  subjects: z.array(z.object({ kind: z.literal('ServiceAccount'), name: z.string(), namespace: z.string() })),
});

/** All that a daemon may which asks for reviews. */
const REVIEWS = [
  { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
  { apiGroups: ['authorization.k8s.io'], resources: ['subjectaccessreviews'], verbs: ['create'] },
];

test('the rule of the operator has the alerts of the rules file: node scripts/prometheus-rule.ts', async () => {
  const read = async (name: string): Promise<unknown> =>
    parse(await readFile(join(CHECKOUT, 'deploy', 'monitoring', name), 'utf8'));
  const { spec } = z.object({ spec: z.unknown() }).parse(await read('prometheus-rule.yaml'));
  assert.deepEqual(spec, await read('prometheus-rules.yaml'));
});

test('monitoring in a kustomization without a namespace, as docs/kubernetes.md has it, is where the pods are', async context => {
  const directory = await mkdtemp(join(tmpdir(), 'execlet-kustomize-'));
  context.after(() => rm(directory, { recursive: true }));
  const deploy = relative(directory, join(CHECKOUT, 'deploy'));
  const kustomization = `resources: [${deploy}/base]\ncomponents: [${deploy}/monitoring]\n`;
  await writeFile(join(directory, 'kustomization.yaml'), kustomization);
  const manifests = await renderManifests(directory);
  const ofCluster = ['Namespace', 'ClusterRole', 'ClusterRoleBinding'];
  const elsewhere = manifests.filter(
    ({ kind, metadata }) => !ofCluster.includes(kind) && metadata.namespace !== 'execlet',
  );
  assert.deepEqual(
    elsewhere.map(({ kind, metadata }) => `${kind} ${metadata.name}`),
    [],
  );
});
