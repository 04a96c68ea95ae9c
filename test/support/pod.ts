import { z } from 'zod';
import { manifestOf, type Manifest } from './manifests.ts';

// Strict: what is added to a manifest has to be understood here, by what runs and what checks it.

const quantity = z.string();
const probe = z.strictObject({
  httpGet: z.strictObject({ path: z.string(), port: z.string(), scheme: z.literal('HTTPS') }),
  periodSeconds: z.int().optional(),
  timeoutSeconds: z.int().optional(),
  failureThreshold: z.int().optional(),
});
const configMapSource = z.strictObject({
  name: z.string(),
  items: z.array(z.strictObject({ key: z.string(), path: z.string() })).optional(),
});
const volume = z.strictObject({
  name: z.string(),
  configMap: configMapSource.optional(),
  projected: z.strictObject({ sources: z.array(z.strictObject({ configMap: configMapSource })) }).optional(),
  hostPath: z.strictObject({ path: z.string(), type: z.enum(['Socket', 'DirectoryOrCreate', 'File']) }).optional(),
  emptyDir: z.strictObject({ medium: z.literal('Memory'), sizeLimit: quantity }).optional(),
});
const container = z.strictObject({
  name: z.literal('execlet'),
  image: z.string(),
  args: z.array(z.string()),
  env: z.array(
    z.strictObject({
      name: z.string(),
      valueFrom: z.strictObject({
        fieldRef: z.strictObject({ fieldPath: z.enum(['status.hostIP', 'spec.nodeName']) }),
      }),
    }),
  ),
  ports: z.array(
    z.strictObject({ name: z.string(), containerPort: z.int(), hostPort: z.int(), protocol: z.literal('TCP') }),
  ),
  startupProbe: probe,
  livenessProbe: probe,
  readinessProbe: probe,
  resources: z.strictObject({
    requests: z.strictObject({ cpu: quantity, memory: quantity }),
    limits: z.strictObject({ memory: quantity }),
  }),
  securityContext: z.strictObject({
    allowPrivilegeEscalation: z.boolean(),
    readOnlyRootFilesystem: z.boolean(),
    capabilities: z.strictObject({ drop: z.array(z.string()), add: z.array(z.string()).default([]) }),
  }),
  volumeMounts: z.array(
    z.strictObject({ name: z.string(), mountPath: z.string(), readOnly: z.boolean().default(false) }),
  ),
});
const podSpec = z.strictObject({
  serviceAccountName: z.string(),
  automountServiceAccountToken: z.boolean().default(true),
  priorityClassName: z.string(),
  nodeSelector: z.record(z.string(), z.string()),
  tolerations: z.array(z.strictObject({ operator: z.literal('Exists') })),
  hostNetwork: z.boolean(),
  hostPID: z.boolean(),
  terminationGracePeriodSeconds: z.int(),
  securityContext: z.strictObject({
    runAsUser: z.int(),
    runAsGroup: z.int(),
    runAsNonRoot: z.boolean().optional(),
    supplementalGroups: z.array(z.int()).default([]),
    fsGroup: z.int().optional(),
    seccompProfile: z.strictObject({ type: z.literal('RuntimeDefault') }),
  }),
  containers: z.tuple([container]),
  volumes: z.array(volume),
});
const daemonSet = z.looseObject({ spec: z.looseObject({ template: z.looseObject({ spec: podSpec }) }) });
const configMap = z.looseObject({ data: z.record(z.string(), z.string()) });

/** The pod of a DaemonSet, as far as the manifests in `deploy/` go: one container. */
export type Pod = z.infer<typeof podSpec>;
/** Where a container's files come from. */
export type Volume = z.infer<typeof volume>;
/** A volume that is made of ConfigMaps: its files by their names. */
export type ConfigFiles = Readonly<Record<string, string>>;

export function podOf(manifests: readonly Manifest[]): Pod {
  return daemonSet.parse(manifestOf(manifests, 'DaemonSet')).spec.template.spec;
}

/** The files of a volume that is made of ConfigMaps, of those manifests or beside them; undefined for another volume. */
export function configFiles(
  { configMap: single, projected }: Volume,
  manifests: readonly Manifest[],
  beside: Readonly<Record<string, ConfigFiles>>,
): ConfigFiles | undefined {
  const sources = single === undefined ? projected?.sources.map(source => source.configMap) : [single];
  if (sources === undefined) return undefined;
  const files: Record<string, string> = {};
  for (const { name, items } of sources) {
    const data = beside[name] ?? configMap.parse(manifestOf(manifests, 'ConfigMap', name)).data;
    for (const { key, path } of items ?? Object.keys(data).map(every => ({ key: every, path: every }))) {
      const text = data[key];
      if (text === undefined) throw new Error(`the ConfigMap ${name} has no ${key}`);
      files[path] = text;
    }
  }
  return files;
}

/** Kubernetes' quantity of bytes: `128Mi`. */
export function bytesOf(text: string): number {
  const [, number = '', unit = ''] = /^(\d+)(Ki|Mi|Gi)$/.exec(text) ?? [];
  const power = ['', 'Ki', 'Mi', 'Gi'].indexOf(unit);
  if (power < 1) throw new Error(`${text} is no quantity of bytes that is known here`);
  return Number(number) * 1024 ** power;
}
