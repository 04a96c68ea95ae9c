import { VERSION } from '../version.ts';

/** `/version`. kubectl chooses its behaviour by major and minor, so they name the API server that we answer like. */
export function versionInfo(): Readonly<Record<string, string>> {
  return {
    major: '1',
    minor: '32',
    gitVersion: `v1.32.0+execlet-${VERSION}`,
    gitCommit: '',
    gitTreeState: '',
    buildDate: '',
    goVersion: '',
    compiler: `node ${process.version}`,
    platform: `${process.platform}/${process.arch === 'x64' ? 'amd64' : process.arch}`,
  };
}

/** `/api`: the core group has one version. */
export const API_VERSIONS = { kind: 'APIVersions', apiVersion: 'v1', versions: ['v1'], serverAddressByClientCIDRs: [] };

/** `/apis`: no other group. kubectl takes this answer to its request for aggregated discovery too. */
export const API_GROUP_LIST = { kind: 'APIGroupList', apiVersion: 'v1', groups: [] };

/** `/api/v1`. Only verbs that are answered: kubectl says "does not support the verb" for the rest, before it asks. */
export const API_RESOURCE_LIST = {
  kind: 'APIResourceList',
  apiVersion: 'v1',
  groupVersion: 'v1',
  resources: [
    {
      name: 'pods',
      singularName: 'pod',
      namespaced: true,
      kind: 'Pod',
      verbs: ['get', 'list'],
      shortNames: ['po'],
      categories: ['all'],
    },
    {
      name: 'pods/exec',
      singularName: '',
      namespaced: true,
      kind: 'PodExecOptions',
      verbs: ['create', 'get'],
    },
  ],
};

/**
 * `/api/v1/namespaces/NAME`: every name is one, whether or not a pod is in it. After a 404 anywhere but in `default` kubectl asks
 * whether the namespace is there, and shows that answer in the place of the first one if it is a 404 too.
 */
export function namespaceNamed(name: string): unknown {
  return { kind: 'Namespace', apiVersion: 'v1', metadata: { name }, status: { phase: 'Active' } };
}
