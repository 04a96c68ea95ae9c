import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { RequestOptions } from 'node:https';
import path from 'node:path';
import { createSecureContext } from 'node:tls';
import type * as ClientNode from '@kubernetes/client-node';
import { z } from 'zod';
import type { TlsIdentity } from './review-transport.ts';

/** Which API server execlet asks, and as whom. */
export interface ApiCredential {
  readonly server: string;
  /** Reads the files anew, so that what was renewed is used; a token file once a minute, as Go's client does. */
  read(): Promise<{ readonly headers: Readonly<Record<string, string>>; readonly tls: TlsIdentity }>;
}

const SERVICE_ACCOUNT = "the pod's service account";

/**
 * Reads a kubeconfig, or the service account of the pod we run in, and everything that it names.
 *
 * @throws {Error} one line that names the file, and holds nothing of what is in it
 */
export async function openApiCredential(
  library: typeof ClientNode,
  kubeconfig: string | undefined,
): Promise<ApiCredential> {
  const source = kubeconfig ?? SERVICE_ACCOUNT;
  const config = kubeconfig === undefined ? inCluster(library) : fromFile(library, kubeconfig);
  const server = config.getCurrentCluster()?.server ?? '';
  if (!URL.canParse(server)) {
    throw new Error(
      kubeconfig === undefined
        ? `${source}: KUBERNETES_SERVICE_HOST is not set: outside of a pod a kubeconfig is needed`
        : `${source}: the server is not a URL`,
    );
  }
  if (!server.startsWith('https://')) {
    throw new Error(`${source}: the server is not https://, and whoever can answer for it decides who gets in`);
  }
  const credential: ApiCredential = {
    server,
    read: async () => {
      const options: RequestOptions = {};
      await config.applyToHTTPSOptions(options);
      const { ca, cert, key, servername, headers } = options;
      const authorization = z.looseObject({ Authorization: z.string().optional() }).parse(headers ?? {}).Authorization;
      return {
        // A token file ends with a line break, which no header may hold.
        headers: authorization === undefined ? {} : { Authorization: authorization.trim() },
        tls: {
          ...(ca !== undefined && { ca }),
          ...(cert !== undefined && { cert }),
          ...(key !== undefined && { key }),
          ...(servername !== undefined && { servername }),
        },
      };
    },
  };
  const { headers, tls } = await credential.read().catch((error: unknown) => {
    throw cannotRead(source, error);
  });
  describing(
    () => {
      // A context takes any text for an authority, and then trusts nobody.
      for (const ca of [tls.ca ?? []].flat()) new X509Certificate(ca);
      createSecureContext({ ca: tls.ca, cert: tls.cert, key: tls.key });
    },
    error =>
      new Error(
        `${source}: certificate-authority, client-certificate and client-key cannot be used (${errorCode(error)})`,
      ),
  );
  if (headers.Authorization === undefined && (tls.cert === undefined || tls.key === undefined)) {
    throw new Error(`${source}: the user has neither a token nor a client certificate with its key`);
  }
  return credential;
}

/** The code of one of Node's errors: all of an error that may be shown, where its message may quote a credential. */
export function errorCode(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' && /^[A-Z0-9_]+$/.test(code) ? code : 'no code';
}

function inCluster({ KubeConfig }: typeof ClientNode): ClientNode.KubeConfig {
  const config = new KubeConfig();
  config.loadFromCluster();
  return config;
}

/**
 * What changes who we are or whom we talk to is refused rather than left out, as client-node does with some. A server that
 * nobody has vouched for may let in whom it likes; a plugin is a process without a bound.
 */
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

const rawUsers = z.object({
  users: z.array(z.object({ name: z.string(), user: z.looseObject({ tokenFile: z.string().nullish() }).nullish() })),
});

function fromFile({ KubeConfig, loadYaml }: typeof ClientNode, file: string): ClientNode.KubeConfig {
  const text = describing(
    () => readFileSync(file, 'utf8'),
    error => cannotRead(file, error),
  );
  const config = new KubeConfig();
  describing(
    () => config.loadFromString(text),
    error => new Error(`${file}: ${incomplete(error) ?? 'not a kubeconfig'}`),
  );
  config.makePathsAbsolute(path.dirname(file));
  const cluster = config.getCurrentCluster();
  const user = config.getCurrentUser();
  if (cluster === null || user === null) {
    throw new Error(`${file}: current-context does not name a context with a cluster and a user`);
  }
  const raw = rawUsers.safeParse(loadYaml<unknown>(text));
  if (!raw.success) throw new Error(`${file}: not a kubeconfig`);
  const settings = raw.data.users.find(({ name }) => name === user.name)?.user ?? {};
  const unsupported: readonly (readonly [string, unknown])[] = [
    ['proxy-url', cluster.proxyUrl],
    ['insecure-skip-tls-verify', cluster.skipTLSVerify],
    ...REFUSED.map(key => [key, settings[key]] as const),
  ];
  for (const [key, value] of unsupported) {
    if (value !== undefined && value !== null && value !== '' && value !== false) {
      throw new Error(
        `${file}: ${key}: not supported by execlet (certificate-authority, token, tokenFile and client certificate are)`,
      );
    }
  }
  // client-node does not know tokenFile, but reads the service account's token in the same way. It wins over a token
  // beside it, as with kubectl.
  const { tokenFile } = settings;
  if (tokenFile !== undefined && tokenFile !== null && tokenFile !== '') {
    const absolute = path.resolve(path.dirname(file), tokenFile);
    config.loadFromClusterAndUser(cluster, {
      ...user,
      token: '',
      authProvider: { name: 'tokenFile', config: { tokenFile: absolute } },
    });
  }
  return config;
}

/** client-node's word for what is missing, which names the key; its other errors may quote lines of the file. */
function incomplete(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  return /^(clusters|users|contexts)\[\d+\](\.[a-z]+)* is missing$/.exec(error.message)?.[0];
}

function cannotRead(source: string, error: unknown): Error {
  const file = error instanceof Error && 'path' in error && typeof error.path === 'string' ? error.path : source;
  const place = file === source ? source : `${source}: ${file}`;
  return new Error(`${place}: cannot be read (${errorCode(error)})`);
}

/** Runs the action; an error of it is seen by `describe` only, since it may hold a credential. */
function describing<T>(action: () => T, describe: (error: unknown) => Error): T {
  try {
    return action();
  } catch (error) {
    throw describe(error);
  }
}
