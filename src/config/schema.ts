import { isIP } from 'node:net';
import { z } from 'zod';
import type { AuthorizationResource } from '../access/authorization.ts';
import { ANY_NAME } from '../access/front-proxy.ts';
import { SESSION_LOG_FAILURES } from '../exec/session-log.ts';
import { DEFAULT_CERT_DIR } from '../files/cert-dir.ts';
import { parseRedactPattern } from '../exec/redaction.ts';
import { LOG_FORMATS, LOG_LEVELS } from '../log.ts';
import { parseBindAddress } from './bind-address.ts';
import { parseDuration } from './duration.ts';
import { parseEndpoint } from './endpoint.ts';
import { parseCipherSuites, parseTlsVersion, TLS_VERSIONS } from './tls-names.ts';

const NAMING_SCHEMES = ['kubernetes', 'compose', 'plain'] as const;
const AUTHORIZATION_MODES = ['Webhook', 'Rules', 'AlwaysAllow'] as const;
const ON_DISCONNECT = ['terminate', 'keep'] as const;
const AUTHORIZATION_RESOURCES = ['pods/exec', 'nodes/proxy'] as const satisfies readonly AuthorizationResource[];

/** Node's timers hold no more than 2^31 - 1 ms, and fire at once for anything longer. */
const MAX_DURATION_MS = 2 ** 31 - 1;

/** How a setting is shown to people. */
interface About {
  /** What stands for the value in `--help`; says its kind. */
  readonly placeholder: string;
  /** As a person would write it, or where it comes from. */
  readonly default: string;
  readonly help: string;
}

const ABOUT = z.registry<About>();

const address = value('an IP address or localhost', given =>
  typeof given === 'string' && (isIP(given) !== 0 || given === 'localhost') ? given : undefined,
);

const port = value('a port number from 0 to 65535', given => {
  const number = typeof given === 'string' && /^\d{1,5}$/.test(given) ? Number(given) : given;
  return typeof number === 'number' && Number.isInteger(number) && number >= 0 && number <= 65_535 ? number : undefined;
});

/** Counts of things; a limit of none at all would be no limit but an outage. */
const limit = value('a whole number from 1 to 1000000', given => {
  const number = typeof given === 'string' && /^\d{1,7}$/.test(given) ? Number(given) : given;
  return typeof number === 'number' && Number.isInteger(number) && number >= 1 && number <= 1_000_000
    ? number
    : undefined;
});

const rate = value('a number per second, from 0.01 to 1000', given => {
  const number = typeof given === 'string' && /^\d{1,4}(\.\d{1,3})?$/.test(given) ? Number(given) : given;
  return typeof number === 'number' && number >= 0.01 && number <= 1000 ? number : undefined;
});

const bindAddress = value('HOST:PORT, with an IP address or localhost as HOST and IPv6 in brackets', given =>
  typeof given === 'string' ? parseBindAddress(given) : undefined,
);

const endpoint = value('unix:///PATH, tcp://HOST:PORT, http://HOST:PORT or https://HOST:PORT', given =>
  typeof given === 'string' ? parseEndpoint(given) : undefined,
);

const name = value('a name without spaces', given =>
  typeof given === 'string' && /^[^\s\p{Cc}]+$/u.test(given) ? given : undefined,
);

const file = value('the path of a file', given =>
  typeof given === 'string' && given !== '' && !given.includes('\0') ? given : undefined,
);

const directory = value('the path of a directory', given =>
  typeof given === 'string' && given !== '' && !given.includes('\0') ? given : undefined,
);

/** Alone on the command line it is true; `--flag=false` takes it back, as with the kubelet. */
const onOff = value('true or false', given => {
  const text = typeof given === 'boolean' ? String(given) : given;
  return text === 'true' ? true : text === 'false' ? false : undefined;
});

/** Names of HTTP headers, the most important first. */
const headerNames = list('a list of header names', given => /^[!#$%&'*+.^_`|~\w-]+$/.test(given));

const headerPrefix = value('the beginning of a header name', given =>
  typeof given === 'string' && /^[!#$%&'*+.^_`|~\w-]+$/.test(given) ? given : undefined,
);

const origins = list(
  'a list of origins, as browsers write them: https://HOST or https://HOST:PORT',
  given => URL.canParse(given) && new URL(given).origin === given,
);

const names = list('a list of names', given => given !== '');

/** As Node names it. */
const tlsVersion = value(`one of ${TLS_VERSIONS.join(', ')}`, given =>
  typeof given === 'string' ? parseTlsVersion(given) : undefined,
);

/** As OpenSSL wants them. */
const cipherSuites = names.transform((suites, context) => {
  const parsed = parseCipherSuites(suites);
  if (!('problem' in parsed)) return parsed.ciphers;
  context.addIssue(parsed.problem);
  return z.NEVER;
});

/** Not split at commas, which regular expressions have of their own. */
const patterns = z.unknown().transform((given, context): readonly RegExp[] => {
  const texts: readonly unknown[] = Array.isArray(given) ? given : [given];
  try {
    return texts.map(text => parseRedactPattern(typeof text === 'string' ? text : ''));
  } catch (cause) {
    // The text itself is not repeated: it may hold what it is to hide.
    context.addIssue(`must be regular expressions, and one is ${cause instanceof Error ? cause.message : 'none'}`);
    return z.NEVER;
  }
});

/** In milliseconds. */
const duration = value('a duration from 1ms to 596h, written as 1m30s', given => {
  const milliseconds = typeof given === 'string' ? parseDuration(given) : undefined;
  if (milliseconds === undefined || milliseconds < 1 || milliseconds > MAX_DURATION_MS) return undefined;
  return Math.round(milliseconds);
});

const namingSchemes = value(`a list of ${NAMING_SCHEMES.join(', ')}, each at most once`, given => {
  const listed: readonly unknown[] = typeof given === 'string' ? given.split(',') : Array.isArray(given) ? given : [];
  const names = listed.map(entry => (typeof entry === 'string' ? entry.trim() : entry));
  const schemes = names.flatMap(listedName => NAMING_SCHEMES.filter(scheme => scheme === listedName));
  const valid = schemes.length > 0 && schemes.length === names.length && new Set(schemes).size === schemes.length;
  return valid ? schemes : undefined;
});

/** Every setting, in the order of `--help`; keys are those of the file, flags follow from them (`flagOf`). */
const settings = z.strictObject({
  address: setting(address, '127.0.0.1', {
    placeholder: 'IP',
    help: 'address to listen on; any but loopback needs a way to authenticate callers, and --authorization-mode',
  }),
  port: setting(port, '10350', { placeholder: 'PORT', help: 'TCP port to listen on; 0 picks a free one' }),
  dockerEndpoint: describedAs(endpoint, {
    placeholder: 'URL',
    default: 'DOCKER_HOST, then unix:///var/run/docker.sock',
    help: 'where the Docker Engine listens: unix:///PATH, tcp://HOST:PORT, http://… or https://…',
  }),
  nodeName: describedAs(name, {
    placeholder: 'NAME',
    default: 'the host name',
    help: "this node's name, as the pods show it",
  }),
  namingSchemes: setting(namingSchemes, 'kubernetes', {
    placeholder: 'LIST',
    help: `how containers get their pod names: ${NAMING_SCHEMES.join(', ')}; the first of the list that names a container wins`,
  }),
  streamCreationTimeout: setting(duration, '30s', {
    placeholder: 'DURATION',
    help: 'how long a client may take to open the streams that it asked for',
  }),
  engineTimeout: setting(duration, '10s', {
    placeholder: 'DURATION',
    help: "how long the Engine may take to answer a call; a command's own run time is not limited by it",
  }),
  outputDrainQuiet: setting(duration, '2s', {
    placeholder: 'DURATION',
    help: "how long a command's children in the background may be silent after its exit, before its output counts as ended",
  }),
  outputDrainLimit: setting(duration, '30s', {
    placeholder: 'DURATION',
    help: 'how long after its exit the output of such children is waited for in all',
  }),
  keepaliveInterval: setting(duration, '20s', {
    placeholder: 'DURATION',
    help: 'how often clients are pinged; one that does not answer twice, and is not merely slow to read, has gone',
  }),
  streamingConnectionIdleTimeout: setting(duration, '4h', {
    placeholder: 'DURATION',
    help: 'how long a session may go without a byte of input or output',
  }),
  maxSessionDuration: describedAs(duration.optional(), {
    placeholder: 'DURATION',
    default: 'none',
    help: 'how long a session may last in all',
  }),
  onDisconnect: setting(oneOf(ON_DISCONNECT), 'terminate', {
    placeholder: 'POLICY',
    help: 'what becomes of a command whose session ends before it does: terminate it, or keep it running',
  }),
  killGracePeriod: setting(duration, '10s', {
    placeholder: 'DURATION',
    help: 'how long such a command may take to end before the next signal: SIGHUP (on a terminal), SIGTERM, SIGKILL',
  }),
  maxSessions: setting(limit, '1024', { placeholder: 'COUNT', help: 'how many sessions may run at a time' }),
  maxSessionsPerContainer: setting(limit, '64', { placeholder: 'COUNT', help: 'the same in one container' }),
  maxSessionsPerCaller: describedAs(limit.optional(), {
    placeholder: 'COUNT',
    default: 'none',
    help: 'the same of one user; a proxy that forwards no identity is one user',
  }),
  maxSessionRatePerContainer: describedAs(rate.optional(), {
    placeholder: 'NUMBER',
    default: 'none',
    help: 'how many sessions may begin in one container each second',
  }),
  maxConnections: setting(limit, '4096', {
    placeholder: 'COUNT',
    help: 'how many connections may be open at a time, sessions among them; beyond it only health checks are answered',
  }),
  drainTimeout: setting(duration, '30s', {
    placeholder: 'DURATION',
    help: 'how long sessions may go on after SIGTERM or SIGINT, before they are ended',
  }),
  metricsBindAddress: describedAs(bindAddress.optional(), {
    placeholder: 'HOST:PORT',
    default: 'none: /metrics is served on the main address only, to whoever may read it',
    help: 'where /metrics is served as well, over plain HTTP and to everybody',
  }),
  logLevel: setting(oneOf(LOG_LEVELS), 'info', { placeholder: 'LEVEL', help: LOG_LEVELS.join(', ') }),
  logFormat: setting(oneOf(LOG_FORMATS), 'json', {
    placeholder: 'FORMAT',
    help: `${LOG_FORMATS.join(', ')}; the log goes to stderr`,
  }),
  tlsCertFile: describedAs(file.optional(), {
    placeholder: 'FILE',
    default: 'none: plain HTTP on loopback, else a self-signed certificate in --cert-dir',
    help: 'PEM file with the certificate to serve, and its chain; needs --tls-private-key-file; read again when it changes',
  }),
  tlsPrivateKeyFile: describedAs(file.optional(), {
    placeholder: 'FILE',
    default: 'none',
    help: 'PEM file with the private key of --tls-cert-file',
  }),
  certDir: describedAs(directory.optional(), {
    placeholder: 'DIR',
    default: DEFAULT_CERT_DIR,
    help: 'where the self-signed certificate is kept when there is no --tls-cert-file; given on a loopback address, it turns TLS on',
  }),
  tlsMinVersion: setting(tlsVersion, 'VersionTLS12', {
    placeholder: 'VERSION',
    help: `lowest version of TLS that is spoken: ${TLS_VERSIONS.join(', ')}`,
  }),
  tlsCipherSuites: describedAs(cipherSuites.optional(), {
    placeholder: 'LIST',
    default: "Node's",
    help: 'cipher suites by their IANA names, such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256; without one of TLS 1.3 all of those are usable',
  }),
  clientCaFile: describedAs(file.optional(), {
    placeholder: 'FILE',
    default: 'none',
    help: "PEM file with the CAs of users' certificates: CN is the user, O the groups; read again when it changes",
  }),
  requestheaderClientCaFile: describedAs(file.optional(), {
    placeholder: 'FILE',
    default: 'none',
    help: 'PEM file with the CAs of front proxies, which name their callers in headers; read again when it changes',
  }),
  requestheaderAllowedNames: describedAs(names.optional(), {
    placeholder: 'LIST',
    default: 'none',
    help: `common names that a front proxy's certificate may have; "${ANY_NAME}" for any`,
  }),
  requestheaderUsernameHeaders: setting(headerNames, 'X-Remote-User', {
    placeholder: 'LIST',
    help: "headers with the caller's name, from front proxies only; the first that is there counts",
  }),
  requestheaderGroupHeaders: setting(headerNames, 'X-Remote-Group', {
    placeholder: 'LIST',
    help: "headers with the caller's groups",
  }),
  requestheaderExtraHeadersPrefix: setting(headerPrefix, 'X-Remote-Extra-', {
    placeholder: 'PREFIX',
    help: 'beginning of the headers that say more of the caller',
  }),
  tokenAuthFile: describedAs(file.optional(), {
    placeholder: 'FILE',
    default: 'none',
    help: 'CSV file of bearer tokens: token,user,uid,"group1,group2"; read again when it changes',
  }),
  authenticationTokenWebhook: setting(onOff, 'false', {
    placeholder: 'BOOL',
    help: 'ask the API server whom a bearer token belongs to (TokenReview)',
  }),
  authenticationTokenWebhookCacheTtl: setting(duration, '2m', {
    placeholder: 'DURATION',
    help: 'how long its answers are believed',
  }),
  kubeconfig: describedAs(file.optional(), {
    placeholder: 'FILE',
    default: "the pod's service account",
    help: 'how to reach the API server for --authentication-token-webhook and --authorization-mode=Webhook',
  }),
  anonymousAuth: setting(onOff, 'false', {
    placeholder: 'BOOL',
    help: 'callers without a credential are system:anonymous instead of refused; what they may do is up to --authorization-mode',
  }),
  authorizationMode: describedAs(oneOf(AUTHORIZATION_MODES).optional(), {
    placeholder: 'MODE',
    default: 'none: must be said, except on loopback without authentication',
    help: 'who decides what callers may do: Webhook (the API server), Rules (--authorization-rules-file) or AlwaysAllow',
  }),
  authorizationWebhookCacheAuthorizedTtl: setting(duration, '5m', {
    placeholder: 'DURATION',
    help: "how long the API server's permission is believed",
  }),
  authorizationWebhookCacheUnauthorizedTtl: setting(duration, '30s', {
    placeholder: 'DURATION',
    help: 'how long its refusal is believed',
  }),
  authorizationRulesFile: describedAs(file.optional(), {
    placeholder: 'FILE',
    default: 'none',
    help: 'YAML file of rules for --authorization-mode=Rules; read again when it changes',
  }),
  authorizationResource: setting(oneOf(AUTHORIZATION_RESOURCES), 'pods/exec', {
    placeholder: 'RESOURCE',
    help: 'what the API server is asked about: pods/exec, or, as a kubelet asks, nodes/proxy of --node-name',
  }),
  allowedOrigins: describedAs(origins.optional(), {
    placeholder: 'LIST',
    default: 'none',
    help: 'web pages that may send requests, as https://HOST[:PORT]; all others are refused',
  }),
  sessionLog: describedAs(file.optional(), {
    placeholder: 'FILE',
    default: 'none',
    help: 'file for one JSON line at the start and the end of each session and for each refusal; - for stdout; opened again on SIGHUP',
  }),
  sessionLogFailure: setting(oneOf(SESSION_LOG_FAILURES), 'continue', {
    placeholder: 'POLICY',
    help: 'while it cannot be written: continue (and count what is lost), or refuse new sessions',
  }),
  sessionLogRedact: describedAs(patterns.optional(), {
    placeholder: 'PATTERN',
    default: 'none',
    help: 'regular expression; what it matches in a command is not written to the session log; may be given more than once',
  }),
});

/** Turns what the flags, the file and the environment gave into Settings, or says what is wrong with which key. */
export const settingsSchema = settings.transform(
  ({
    streamCreationTimeout,
    engineTimeout,
    outputDrainQuiet,
    outputDrainLimit,
    keepaliveInterval,
    streamingConnectionIdleTimeout,
    maxSessionDuration,
    killGracePeriod,
    drainTimeout,
    authenticationTokenWebhookCacheTtl,
    authorizationWebhookCacheAuthorizedTtl,
    authorizationWebhookCacheUnauthorizedTtl,
    ...others
  }) => ({
    ...others,
    authenticationTokenWebhookCacheTtlMs: authenticationTokenWebhookCacheTtl,
    authorizationWebhookCacheAuthorizedTtlMs: authorizationWebhookCacheAuthorizedTtl,
    authorizationWebhookCacheUnauthorizedTtlMs: authorizationWebhookCacheUnauthorizedTtl,
    streamCreationTimeoutMs: streamCreationTimeout,
    engineTimeoutMs: engineTimeout,
    outputDrainQuietMs: outputDrainQuiet,
    outputDrainLimitMs: outputDrainLimit,
    keepaliveIntervalMs: keepaliveInterval,
    streamingConnectionIdleTimeoutMs: streamingConnectionIdleTimeout,
    maxSessionDurationMs: maxSessionDuration,
    killGracePeriodMs: killGracePeriod,
    drainTimeoutMs: drainTimeout,
  }),
);

/** What the daemon runs with. Everything has been checked; durations are in milliseconds. */
export type Settings = Readonly<z.output<typeof settingsSchema>>;

/** A setting as `--help` and the README show it. */
export interface SettingEntry extends About {
  readonly flag: string;
  /** Its key in the file; undefined for `--config` itself. */
  readonly key: string | undefined;
  /** True alone is enough: `--anonymous-auth`. */
  readonly isSwitch: boolean;
  /** May be given more than once. */
  readonly isRepeatable: boolean;
}

/** The table of settings. */
export const SETTINGS: readonly SettingEntry[] = [
  {
    flag: '--config',
    key: undefined,
    placeholder: 'FILE',
    default: 'none',
    help: 'YAML file with settings, keys in camelCase; flags win over it',
    isSwitch: false,
    isRepeatable: false,
  },
  ...Object.entries(settings.shape).map(([key, type]) => {
    const about = ABOUT.get(type);
    if (about === undefined) throw new Error(`the setting ${key} is not described`);
    return {
      flag: flagOf(key),
      key,
      ...about,
      isSwitch: about.placeholder === 'BOOL',
      isRepeatable: about.placeholder === 'PATTERN',
    };
  }),
];

/** `tlsCertFile` → `--tls-cert-file`, which commander turns back into `tlsCertFile`. */
export function flagOf(key: string): string {
  return `--${key.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`;
}

/** A value that comes as text from the command line, and as whatever YAML makes of it from the file. */
function value<T>(expected: string, parse: (given: unknown) => T | undefined): z.ZodType<T> {
  return z.unknown().transform((given, context) => {
    const parsed = parse(given);
    if (parsed !== undefined) return parsed;
    context.addIssue(given === undefined ? `must be ${expected}` : `must be ${expected}, not ${JSON.stringify(given)}`);
    return z.NEVER;
  });
}

/** Text with commas, or a YAML list; never empty. */
function list(expected: string, isValid: (entry: string) => boolean): z.ZodType<readonly string[]> {
  return value(expected, given => {
    const listed: readonly unknown[] = typeof given === 'string' ? given.split(',') : Array.isArray(given) ? given : [];
    const entries = listed.map(entry => (typeof entry === 'string' ? entry.trim() : ''));
    return entries.length > 0 && entries.every(isValid) ? entries : undefined;
  });
}

function oneOf<T extends string>(choices: readonly T[]): z.ZodType<T> {
  return value(`one of ${choices.join(', ')}`, given => choices.find(choice => choice === given));
}

/** A setting whose default is a value that could also have been given. */
function setting<T>(type: z.ZodType<T>, defaultText: string, about: Omit<About, 'default'>): z.ZodType<T> {
  return type.prefault(defaultText).register(ABOUT, { ...about, default: defaultText });
}

/** A setting without a default, or one whose default load.ts finds out. */
function describedAs<T>(type: z.ZodType<T>, about: About): z.ZodType<T> {
  return type.register(ABOUT, about);
}
