import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { createSecureContext } from 'node:tls';
import { ClientError, messageOf } from './client-error.ts';
import type { ConnectionFlags } from './connection-flags.ts';
import {
  contextSettings,
  parseKubeconfig,
  type ContextSettings,
  type Credential,
  type Kubeconfig,
} from './kubeconfig.ts';

const DEFAULT_SERVER = '127.0.0.1:10350';

/** TLS as Node's https and ws take it; `rejectUnauthorized: false` checks nothing. */
export interface TlsSettings {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly servername?: string;
  readonly rejectUnauthorized: boolean;
}

/** How to reach a server, and as whom. */
export interface Connection {
  /** http: or https:, and perhaps a path that all requests start with. */
  readonly server: URL;
  readonly tls: TlsSettings;
  readonly token?: string;
  /** The namespace of the kubeconfig's context. */
  readonly namespace?: string;
}

/**
 * Resolves flags over kubeconfig over the daemon on this host. `~/.kube/config` is read only where it is named, so that a node's
 * own daemon is what `execlet exec` means on that node.
 *
 * Credentials go over TLS only, as with kubectl. Throws a usage error for what cannot work, so that the first request never
 * fails for it.
 */
export function resolveConnection(
  flags: ConnectionFlags,
  env: Readonly<Record<string, string | undefined>>,
): Connection {
  const settings = withFlags(contextSettings(readKubeconfigs(flags, env), flags.context), flags);
  const server = serverUrl(settings);
  const { namespace } = settings;
  if (server.protocol === 'http:') {
    const flag =
      flags.token !== undefined ? '--token' : flags.clientCertificate !== undefined ? '--client-certificate' : '';
    if (flag !== '') throw ClientError.usage(`${flag} needs an https:// server, ${server.origin} is not one`);
    return { server, tls: { rejectUnauthorized: true }, ...(namespace === undefined ? {} : { namespace }) };
  }
  const token = settings.token === undefined ? undefined : read(settings.token, 'token').trim();
  return {
    server,
    tls: tlsSettings(settings),
    ...(token === undefined ? {} : { token }),
    ...(namespace === undefined ? {} : { namespace }),
  };
}

/** The URL of an API path (already encoded, starting with `/`) below the server's own path. */
export function urlOf(connection: Connection, apiPath: string, query?: URLSearchParams): URL {
  const url = new URL(connection.server);
  url.pathname = url.pathname.replace(/\/$/, '') + apiPath;
  url.search = query?.toString() ?? '';
  return url;
}

/** The headers that every request carries. */
export function headersOf({ token }: Connection): Record<string, string> {
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}

function readKubeconfigs(flags: ConnectionFlags, env: Readonly<Record<string, string | undefined>>): Kubeconfig[] {
  if (flags.kubeconfig !== undefined) return [readKubeconfig(flags.kubeconfig)];
  const listed = (env.KUBECONFIG ?? '').split(path.delimiter).filter(file => file !== '');
  const found = listed.filter(file => existsSync(file)); // kubectl too goes on without those that do not exist
  if (listed.length > 0 && found.length === 0) {
    throw ClientError.usage(`KUBECONFIG: ${listed.join(', ')}: no such file`);
  }
  if (found.length === 0 && flags.context !== undefined) {
    throw ClientError.usage('--context needs --kubeconfig or KUBECONFIG');
  }
  return found.map(readKubeconfig);
}

function readKubeconfig(file: string): Kubeconfig {
  return parseKubeconfig(readText(file, 'kubeconfig'), path.resolve(file));
}

function withFlags(settings: ContextSettings, flags: ConnectionFlags): ContextSettings {
  const { server, token, certificateAuthority, clientCertificate, clientKey, insecureSkipTlsVerify, tlsServerName } =
    flags;
  if (insecureSkipTlsVerify === true && certificateAuthority !== undefined) {
    throw ClientError.usage('--certificate-authority and --insecure-skip-tls-verify exclude each other');
  }
  return {
    ...settings,
    ...(server === undefined ? {} : { server }),
    ...(token === undefined ? {} : { token: { inline: token } }),
    ...(certificateAuthority === undefined
      ? {}
      : { certificateAuthority: { file: certificateAuthority }, insecureSkipTlsVerify: false }),
    ...(clientCertificate === undefined ? {} : { clientCertificate: { file: clientCertificate } }),
    ...(clientKey === undefined ? {} : { clientKey: { file: clientKey } }),
    ...(insecureSkipTlsVerify === true ? { insecureSkipTlsVerify } : {}),
    ...(tlsServerName === undefined ? {} : { tlsServerName }),
  };
}

/** A server without a scheme speaks TLS when a setting is there that only makes sense with it, else plain HTTP, as with kubectl. */
function serverUrl(settings: ContextSettings): URL {
  const given = settings.server ?? DEFAULT_SERVER;
  const { certificateAuthority, clientCertificate, token, insecureSkipTlsVerify, tlsServerName } = settings;
  const wantsTls =
    [certificateAuthority, clientCertificate, token, tlsServerName].some(setting => setting !== undefined) ||
    insecureSkipTlsVerify === true;
  const text = given.includes('://') ? given : `${wantsTls ? 'https' : 'http'}://${given}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    throw ClientError.usage(`server: "${given}" is not an http:// or https:// URL`);
  }
  if (url.username !== '' || url.password !== '') {
    throw ClientError.usage('server: a user name or password in the URL is not supported');
  }
  return url;
}

function tlsSettings(settings: ContextSettings): TlsSettings {
  const { certificateAuthority, clientCertificate, clientKey, insecureSkipTlsVerify = false, tlsServerName } = settings;
  if ((clientCertificate === undefined) !== (clientKey === undefined)) {
    throw ClientError.usage('client certificate and client key are only of use together');
  }
  const pem = {
    ...(certificateAuthority === undefined || insecureSkipTlsVerify
      ? {}
      : { ca: readPem(certificateAuthority, 'certificate authority') }),
    ...(clientCertificate === undefined ? {} : { cert: readPem(clientCertificate, 'client certificate') }),
    ...(clientKey === undefined ? {} : { key: readPem(clientKey, 'client key') }),
  };
  try {
    createSecureContext(pem);
  } catch (error) {
    throw ClientError.usage(`the certificates or the key cannot be used: ${messageOf(error)}`, error);
  }
  return {
    ...pem,
    ...(tlsServerName === undefined ? {} : { servername: tlsServerName }),
    rejectUnauthorized: !insecureSkipTlsVerify,
  };
}

/** Node ignores a CA text in which it finds no certificate, and then trusts nobody without saying why. */
function readPem(credential: Credential, what: string): string {
  const pem = read(credential, what);
  if (pem.includes('-----BEGIN ')) return pem;
  throw ClientError.usage(`${what}: ${'file' in credential ? `${credential.file}: ` : ''}not PEM`);
}

function read(credential: Credential, what: string): string {
  return 'inline' in credential ? credential.inline : readText(credential.file, what);
}

function readText(file: string, what: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw ClientError.usage(`${what}: ${messageOf(error)}`, error);
  }
}
