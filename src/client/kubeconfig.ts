import path from 'node:path';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { ClientError, messageOf } from './client-error.ts';

// What is missing from these schemas is ignored, as kubectl ignores it; what changes who we are or whom we talk to, and is
// not supported, is refused below. Go's decoder reads null as "not set".
const text = z.string().nullish();
const flag = z.boolean().nullish();

const cluster = z.object({
  server: text,
  'certificate-authority': text,
  'certificate-authority-data': text,
  'insecure-skip-tls-verify': flag,
  'tls-server-name': text,
  'proxy-url': text,
});
const user = z.object({
  token: text,
  tokenFile: text,
  'client-certificate': text,
  'client-certificate-data': text,
  'client-key': text,
  'client-key-data': text,
  username: text,
  password: text,
  as: z.unknown().optional(),
  'as-uid': z.unknown().optional(),
  'as-groups': z.unknown().optional(),
  'as-user-extra': z.unknown().optional(),
  exec: z.unknown().optional(),
  'auth-provider': z.unknown().optional(),
});
const context = z.object({ cluster: text, user: text, namespace: text });

const kubeconfig = z.object({
  'current-context': text,
  clusters: z.array(z.object({ name: z.string(), cluster: cluster.nullish() })).nullish(),
  contexts: z.array(z.object({ name: z.string(), context: context.nullish() })).nullish(),
  users: z.array(z.object({ name: z.string(), user: user.nullish() })).nullish(),
});

type Cluster = z.infer<typeof cluster>;
type User = z.infer<typeof user>;

/** One kubeconfig file. */
export interface Kubeconfig {
  /** Relative paths in it are relative to its folder. */
  readonly file: string;
  readonly contents: z.infer<typeof kubeconfig>;
}

/** A certificate, key or token: as it stands in the kubeconfig, or the file that holds it (an absolute path). */
export type Credential = { readonly inline: string } | { readonly file: string };

/** What the chosen context of a kubeconfig says. */
export interface ContextSettings {
  readonly server?: string;
  readonly namespace?: string;
  readonly certificateAuthority?: Credential;
  readonly insecureSkipTlsVerify?: boolean;
  readonly tlsServerName?: string;
  readonly token?: Credential;
  readonly clientCertificate?: Credential;
  readonly clientKey?: Credential;
}

/** Reads the text of a kubeconfig. Throws a usage error that names the file and the key. */
export function parseKubeconfig(source: string, file: string): Kubeconfig {
  const document = parseDocument(source);
  const [syntaxError] = document.errors;
  if (syntaxError !== undefined) {
    throw ClientError.usage(`${file}: ${syntaxError.message.split('\n')[0]?.replace(/:$/, '') ?? 'not YAML'}`);
  }
  let values: unknown;
  try {
    values = document.toJS();
  } catch (error) {
    throw ClientError.usage(`${file}: ${messageOf(error)}`, error); // an alias without its anchor, or a bomb of them
  }
  const parsed = kubeconfig.safeParse(values ?? {}); // an empty file is an empty kubeconfig
  if (parsed.success) return { file, contents: parsed.data };
  const [issue] = parsed.error.issues;
  const key = issue?.path.map(part => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`)).join('') ?? '';
  throw ClientError.usage(`${file}: ${key === '' ? '' : `${key.replace(/^\./, '')}: `}${issue?.message ?? 'invalid'}`);
}

/**
 * The settings of a context: `contextName`, else the first `current-context`. With several files (KUBECONFIG may list them)
 * the first that has an entry of a name wins, as with kubectl. Without any context nothing is set.
 */
export function contextSettings(files: readonly Kubeconfig[], contextName?: string): ContextSettings {
  const current = files.map(({ contents }) => contents['current-context']).find(isSet);
  const name = contextName ?? current;
  if (!isSet(name)) return {};
  const where = files.map(({ file }) => file).join(', ');
  const chosen = find(files, ({ contents }) => contents.contexts, name);
  if (chosen === undefined) throw ClientError.usage(`${where}: there is no context ${JSON.stringify(name)}`);
  const { cluster: clusterName, user: userName, namespace } = chosen.entry.context ?? {};
  const inContext = `that context ${JSON.stringify(name)} names`;
  const clusters = isSet(clusterName) ? find(files, ({ contents }) => contents.clusters, clusterName) : undefined;
  if (isSet(clusterName) && clusters === undefined) {
    throw ClientError.usage(`${where}: there is no cluster ${JSON.stringify(clusterName)}, ${inContext}`);
  }
  const users = isSet(userName) ? find(files, ({ contents }) => contents.users, userName) : undefined;
  if (isSet(userName) && users === undefined) {
    throw ClientError.usage(`${where}: there is no user ${JSON.stringify(userName)}, ${inContext}`);
  }
  return {
    ...(isSet(namespace) ? { namespace } : {}),
    ...(clusters === undefined
      ? {}
      : clusterSettings(clusters.entry.cluster ?? {}, clusters.entry.name, clusters.file)),
    ...(users === undefined ? {} : userSettings(users.entry.user ?? {}, users.entry.name, users.file)),
  };
}

function clusterSettings(values: Cluster, name: string, file: string): ContextSettings {
  const { server, 'insecure-skip-tls-verify': insecure, 'tls-server-name': serverName } = values;
  if (isSet(values['proxy-url'])) throw refused(file, `cluster ${JSON.stringify(name)}`, 'proxy-url');
  const ca = credential(values, 'certificate-authority', { file, where: `cluster ${JSON.stringify(name)}` });
  return {
    ...(isSet(server) ? { server } : {}),
    ...(ca === undefined ? {} : { certificateAuthority: ca }),
    ...(insecure === true ? { insecureSkipTlsVerify: true } : {}),
    ...(isSet(serverName) ? { tlsServerName: serverName } : {}),
  };
}

/** Kinds of credentials that a kubeconfig may hold and we cannot use: leaving one out would make us somebody else. */
const REFUSED = [
  'exec',
  'auth-provider',
  'username',
  'password',
  'as',
  'as-uid',
  'as-groups',
  'as-user-extra',
] as const;

function userSettings(values: User, name: string, file: string): ContextSettings {
  const where = `user ${JSON.stringify(name)}`;
  for (const key of REFUSED) if (isSet(values[key])) throw refused(file, where, key);
  const certificate = credential(values, 'client-certificate', { file, where });
  const key = credential(values, 'client-key', { file, where });
  const { token, tokenFile } = values;
  // A token file is read again by kubectl as it changes, so it wins over the token beside it.
  const bearer = isSet(tokenFile)
    ? { file: path.resolve(path.dirname(file), tokenFile) }
    : isSet(token)
      ? { inline: token }
      : undefined;
  return {
    ...(bearer === undefined ? {} : { token: bearer }),
    ...(certificate === undefined ? {} : { clientCertificate: certificate }),
    ...(key === undefined ? {} : { clientKey: key }),
  };
}

/** `KEY-data` (base64) where it is there, as with kubectl; else the file that `KEY` names. */
function credential<Key extends 'certificate-authority' | 'client-certificate' | 'client-key'>(
  values: Readonly<Partial<Record<Key | `${Key}-data`, string | null | undefined>>>,
  key: Key,
  { file, where }: { file: string; where: string },
): Credential | undefined {
  const encoded: string | null | undefined = values[`${key}-data`];
  const named: string | null | undefined = values[key];
  if (isSet(encoded)) {
    const base64 = encoded.replace(/\s/g, '');
    if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64) || base64.length % 4 !== 0) {
      throw ClientError.usage(`${file}: ${where}: ${key}-data: not base64`);
    }
    return { inline: Buffer.from(base64, 'base64').toString() };
  }
  return isSet(named) ? { file: path.resolve(path.dirname(file), named) } : undefined;
}

function find<Entry extends { readonly name: string }>(
  files: readonly Kubeconfig[],
  entriesOf: (file: Kubeconfig) => readonly Entry[] | null | undefined,
  name: string,
): { readonly entry: Entry; readonly file: string } | undefined {
  for (const kubeconfigFile of files) {
    const entry = (entriesOf(kubeconfigFile) ?? []).find(candidate => candidate.name === name);
    if (entry !== undefined) return { entry, file: kubeconfigFile.file };
  }
  return undefined;
}

function isSet<T>(value: T): value is Exclude<T, null | undefined | ''> {
  return value !== null && value !== undefined && value !== '';
}

function refused(file: string, where: string, key: string): ClientError {
  return ClientError.usage(`${file}: ${where}: ${key}: not supported by execlet (token and client certificate are)`);
}
