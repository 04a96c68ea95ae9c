import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP, isIPv6 } from 'node:net';
import path from 'node:path';
import { Command } from 'commander';
import { stringify } from 'yaml';
import { CertificateBundle } from '../access/certificate-bundle.ts';
import { isBearerToken } from '../access/token-file.ts';
import { ClientError, messageOf } from '../client/client-error.ts';
import { resolveConnection, type Connection } from '../client/connection.ts';
import { print } from '../client/output.ts';
import { settle } from '../client/settle.ts';
import { usesTls } from '../config/access-settings.ts';
import { loadSettings } from '../config/load.ts';
import type { Settings } from '../config/schema.ts';
import { DEFAULT_CERT_DIR, filesOfCertDir } from '../files/cert-dir.ts';

/** The flags, under the names that commander gives them. */
export interface KubeconfigFlags {
  readonly server?: string;
  readonly config?: string;
  readonly address?: string;
  readonly port?: string;
  readonly certDir?: string;
  readonly certificateAuthority?: string;
  readonly insecureSkipTlsVerify?: boolean;
  readonly tlsServerName?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly clientCertificate?: string;
  readonly clientKey?: string;
  readonly context?: string;
  readonly userName?: string;
  readonly namespace?: string;
}

/** `execlet kubeconfig`: a kubeconfig for the daemon, on stdout. */
export function kubeconfigCommand(): Command {
  const command = new Command('kubeconfig')
    .description('print a kubeconfig for the daemon, for kubectl and for our own commands')
    .option(
      '-s, --server <URL>',
      'address of the daemon (default: as serve listens; http:// where that is without TLS and no flag needs it)',
    )
    .option('--config <FILE>', "file with serve's settings, to take address, port and certificate from")
    .option('--address <IP>', "serve's --address")
    .option('--port <PORT>', "serve's --port")
    .option('--cert-dir <DIRECTORY>', `serve's --cert-dir (default: ${DEFAULT_CERT_DIR})`)
    .option(
      '--certificate-authority <FILE>',
      'CA certificates (PEM) that vouch for the daemon (default: tlsCertFile of --config, ' +
        `else execlet.crt in --cert-dir where it exists, else none: those that kubectl trusts anyway)`,
    )
    .option(
      '--insecure-skip-tls-verify',
      'do not check whom kubectl talks to: anybody in between reads and changes everything',
    )
    .option(
      '--tls-server-name <NAME>',
      'name that the certificate of the daemon must carry, where it is not its address',
    )
    .option(
      '--token <TOKEN>',
      'bearer token, written into the kubeconfig: for one that is carried to another machine; the list of processes shows it meanwhile',
    )
    .option(
      '--token-file <FILE>',
      'file with the bearer token alone, named by its absolute path and read at each call: for a kubeconfig that stays on this machine',
    )
    .option('--client-certificate <FILE>', 'certificate (PEM) to identify with')
    .option('--client-key <FILE>', 'private key (PEM) of the client certificate')
    .option('--context <NAME>', 'name of the context and its cluster (default: execlet-HOST)')
    .option('--user-name <NAME>', "the user's name in the kubeconfig (default: that of the context)")
    .option('-n, --namespace <NAMESPACE>', 'namespace of the context');
  return command.action((flags: KubeconfigFlags) =>
    settle(async () => {
      const { text, note } = makeKubeconfig(flags);
      if (note !== undefined) await print(`execlet: ${note}\n`, process.stderr);
      await print(text);
      return 0;
    }),
  );
}

/**
 * The kubeconfig that the flags ask for. Files are read and checked now, so that kubectl does not fail for them later;
 * certificates and keys are embedded. `note` is for the person who asked.
 *
 * @throws {ClientError} for flags and files that cannot work
 * @throws {SettingsError} for what is wrong in the file of `config`
 */
export function makeKubeconfig(flags: KubeconfigFlags): { readonly text: string; readonly note?: string } {
  const { config } = flags;
  const settings = loadSettings({
    flags: config === undefined ? {} : { config },
    env: {},
    readFile: file => readFileSync(file, 'utf8'),
  });
  const server = serverOf(flags, settings);
  checkCombination(flags, server);
  const authority = authorityOf(flags, settings, server);
  // Whatever our own commands would refuse is refused now, in the same words.
  const { certificateAuthority, insecureSkipTlsVerify, tlsServerName, token, clientCertificate, clientKey } = flags;
  const connection = resolveConnection(
    {
      server,
      ...(certificateAuthority !== undefined && { certificateAuthority }),
      ...(insecureSkipTlsVerify !== undefined && { insecureSkipTlsVerify }),
      ...(tlsServerName !== undefined && { tlsServerName }),
      ...(token !== undefined && { token }),
      ...(clientCertificate !== undefined && { clientCertificate }),
      ...(clientKey !== undefined && { clientKey }),
    },
    {},
  );
  const context = flags.context ?? `execlet-${connection.server.hostname}`;
  const user = flags.userName ?? context;
  const cluster = {
    server,
    ...(authority !== undefined && { 'certificate-authority-data': base64(authority.certificates) }),
    ...(insecureSkipTlsVerify === true && { 'insecure-skip-tls-verify': true }),
    ...(tlsServerName !== undefined && { 'tls-server-name': tlsServerName }),
  };
  const { namespace } = flags;
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': context,
    clusters: [{ name: context, cluster }],
    users: [{ name: user, user: credentialOf(flags, connection) }],
    contexts: [{ name: context, context: { cluster: context, user, ...(namespace !== undefined && { namespace }) } }],
  };
  // Without folding: long base64 in one line can be cut out and pasted.
  return {
    text: stringify(kubeconfig, { lineWidth: 0 }),
    ...(authority?.note !== undefined && { note: authority.note }),
  };
}

function serverOf(flags: KubeconfigFlags, settings: Settings): string {
  const { server, address: givenAddress, port: givenPort, certDir = settings.certDir } = flags;
  if (server !== undefined) {
    const other = givenAddress !== undefined ? '--address' : givenPort !== undefined ? '--port' : undefined;
    if (other !== undefined) throw excludeEachOther('--server', other);
    return server.includes('://') ? server : `https://${server}`;
  }
  // Not as settings of serve: on most addresses serve wants an authenticator too, which is no matter of ours.
  const address = givenAddress ?? settings.address;
  const port = givenPort ?? String(settings.port);
  if (isIP(address) === 0 && address !== 'localhost') {
    throw ClientError.usage(`--address: must be an IP address or localhost, not ${JSON.stringify(address)}`);
  }
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) {
    throw ClientError.usage(`--port: must be a port number from 1 to 65535, not ${JSON.stringify(port)}`);
  }
  if (Number(port) === 0) throw ClientError.usage('port 0 is one that only the running daemon knows: give --server');
  const tls = usesTls({ ...settings, address, certDir }) || flagThatNeedsTls(flags) !== undefined;
  return `${tls ? 'https' : 'http'}://${hostOf(address)}:${Number(port)}`;
}

/** How this host reaches what listens on the address. */
function hostOf(address: string): string {
  if (address === '0.0.0.0') return '127.0.0.1';
  if (address === '::') return '[::1]';
  return isIPv6(address) ? `[${address}]` : address;
}

function checkCombination(flags: KubeconfigFlags, server: string): void {
  for (const [key, flag] of [
    ['context', '--context'],
    ['userName', '--user-name'],
    ['namespace', '--namespace'],
    ['tlsServerName', '--tls-server-name'],
  ] as const) {
    if (flags[key] === '') throw ClientError.usage(`${flag}: must not be empty`);
  }
  const [credential, other] = credentialFlags(flags);
  if (credential !== undefined && other !== undefined) throw excludeEachOther(credential, other);
  const { token } = flags;
  if (token !== undefined && !isBearerToken(token)) {
    throw ClientError.usage('--token: must not be empty, and hold no spaces or control characters');
  }
  const needsTls = flagThatNeedsTls(flags);
  if (needsTls !== undefined && URL.parse(server)?.protocol === 'http:') {
    throw ClientError.usage(`${needsTls} needs an https:// server, ${server} is not one`);
  }
}

function credentialFlags({ token, tokenFile, clientCertificate, clientKey }: KubeconfigFlags): string[] {
  return [
    ...(token === undefined ? [] : ['--token']),
    ...(tokenFile === undefined ? [] : ['--token-file']),
    ...(clientCertificate === undefined && clientKey === undefined ? [] : ['--client-certificate']),
  ];
}

/** A credential, or a flag that says whom to trust. */
function flagThatNeedsTls(flags: KubeconfigFlags): string | undefined {
  const { certificateAuthority, tlsServerName, insecureSkipTlsVerify } = flags;
  return [
    ...credentialFlags(flags),
    ...(certificateAuthority === undefined ? [] : ['--certificate-authority']),
    ...(tlsServerName === undefined ? [] : ['--tls-server-name']),
    ...(insecureSkipTlsVerify === true ? ['--insecure-skip-tls-verify'] : []),
  ].at(0);
}

interface Authority {
  /** PEM, and nothing else: a file may hold the private key too. */
  readonly certificates: string;
  readonly note?: string;
}

/** The certificates that kubectl is to trust; undefined where it trusts what it trusts anyway, or anybody. */
function authorityOf(flags: KubeconfigFlags, settings: Settings, server: string): Authority | undefined {
  if (URL.parse(server)?.protocol === 'http:' || flags.insecureSkipTlsVerify === true) return undefined;
  const { certificateAuthority } = flags;
  if (certificateAuthority !== undefined) {
    return {
      certificates: certificatesOf(certificateAuthority, read(certificateAuthority, '--certificate-authority')),
    };
  }
  const { tlsCertFile } = settings;
  if (tlsCertFile !== undefined) return pinned(tlsCertFile, read(tlsCertFile, 'tlsCertFile'));
  const { certFile: file } = filesOfCertDir(flags.certDir ?? settings.certDir ?? DEFAULT_CERT_DIR);
  const pem = readIfThere(file);
  return pem === undefined ? undefined : pinned(file, pem);
}

/** The daemon's own certificate as the one to trust, which holds until the daemon gets another one. */
function pinned(file: string, pem: string): Authority {
  const certificates = certificatesOf(file, pem);
  const own = new X509Certificate(certificates);
  // Not checkIssued: that wants a key that may sign certificates, and execlet's own may not.
  if (own.issuer === own.subject && own.verify(own.publicKey)) return { certificates };
  return {
    certificates,
    note:
      `${file} was issued by a CA, and the kubeconfig trusts this certificate only: kubectl will refuse the next one, and ` +
      '"execlet exec" this one too. Give the certificate of the CA with --certificate-authority',
  };
}

function credentialOf(
  { tokenFile }: KubeconfigFlags,
  { token, tls: { cert, key } }: Connection,
): Record<string, string> {
  if (tokenFile !== undefined) {
    const content = read(tokenFile, '--token-file').trim();
    // A header could carry it, but RFC 6750 knows no token with a comma: it is serve's token file.
    if (content.includes(',')) {
      const taken = content.includes('\n') ? `grep ,USER, ${tokenFile} | cut -d, -f1` : `cut -d, -f1 ${tokenFile}`;
      throw ClientError.usage(
        `--token-file: ${tokenFile} holds more than a token alone, as a token file of serve (CSV) does: give --token "$(${taken})"`,
      );
    }
    if (!isBearerToken(content)) {
      throw ClientError.usage(`--token-file: ${tokenFile} holds something else than a token`);
    }
    return { tokenFile: path.resolve(tokenFile) };
  }
  if (token !== undefined) return { token };
  if (cert === undefined || key === undefined) return {};
  const [privateKey] = /-----BEGIN ([A-Z ]*)PRIVATE KEY-----[^-]*-----END \1PRIVATE KEY-----/.exec(key) ?? [];
  if (privateKey === undefined) throw ClientError.usage('client key: holds no private key in PEM');
  return {
    'client-certificate-data': base64(certificatesOf('client certificate', cert)),
    'client-key-data': base64(`${privateKey}\n`),
  };
}

/** The certificates of a PEM text, without what else is in it. */
function certificatesOf(file: string, pem: string): string {
  try {
    return new CertificateBundle(pem).pem;
  } catch (error) {
    throw ClientError.usage(`${file}: ${messageOf(error)}`, error);
  }
}

function read(file: string, place: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw ClientError.usage(`${place}: ${messageOf(error)}`, error);
  }
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR'))
      return undefined;
    throw ClientError.usage(
      `${messageOf(error)}: run this as the user who runs the daemon, or give --certificate-authority`,
      error,
    );
  }
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

function excludeEachOther(one: string, other: string): ClientError {
  return ClientError.usage(`${one} and ${other} exclude each other`);
}
