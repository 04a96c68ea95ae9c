import { isIP, isIPv4 } from 'node:net';
import { z } from 'zod';
import { LOG_FORMATS, LOG_LEVELS } from '../log.ts';
import { parseDuration } from './duration.ts';
import { parseEndpoint } from './endpoint.ts';

const NAMING_SCHEMES = ['kubernetes', 'compose', 'plain'] as const;

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
).refine(isLoopback, {
  error: ({ input }) =>
    `${String(input)} is not a loopback address, and until execlet can authenticate its callers it listens only on ` +
    '127.0.0.0/8, ::1 and localhost',
});

const port = value('a port number from 0 to 65535', given => {
  const number = typeof given === 'string' && /^\d{1,5}$/.test(given) ? Number(given) : given;
  return typeof number === 'number' && Number.isInteger(number) && number >= 0 && number <= 65_535 ? number : undefined;
});

const endpoint = value('unix:///PATH, tcp://HOST:PORT, http://HOST:PORT or https://HOST:PORT', given =>
  typeof given === 'string' ? parseEndpoint(given) : undefined,
);

const name = value('a name without spaces', given =>
  typeof given === 'string' && /^[^\s\p{Cc}]+$/u.test(given) ? given : undefined,
);

const file = value('the path of a file', given =>
  typeof given === 'string' && given !== '' && !given.includes('\0') ? given : undefined,
);

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
    help: 'address to listen on; a loopback address, until execlet can authenticate its callers',
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
  logLevel: setting(oneOf(LOG_LEVELS), 'info', { placeholder: 'LEVEL', help: LOG_LEVELS.join(', ') }),
  logFormat: setting(oneOf(LOG_FORMATS), 'json', {
    placeholder: 'FORMAT',
    help: `${LOG_FORMATS.join(', ')}; the log goes to stderr`,
  }),
  tlsCertFile: describedAs(file.optional(), {
    placeholder: 'FILE',
    default: 'none: plain HTTP',
    help: 'PEM file with the certificate to serve, and its chain; needs --tls-private-key-file',
  }),
  tlsPrivateKeyFile: describedAs(file.optional(), {
    placeholder: 'FILE',
    default: 'none',
    help: 'PEM file with the private key of --tls-cert-file',
  }),
});

/** Turns what the flags, the file and the environment gave into Settings, or says what is wrong with which key. */
export const settingsSchema = settings.transform(
  ({ streamCreationTimeout, engineTimeout, outputDrainQuiet, outputDrainLimit, ...others }) => ({
    ...others,
    streamCreationTimeoutMs: streamCreationTimeout,
    engineTimeoutMs: engineTimeout,
    outputDrainQuietMs: outputDrainQuiet,
    outputDrainLimitMs: outputDrainLimit,
  }),
);

/** What the daemon runs with. Everything has been checked; durations are in milliseconds. */
export type Settings = Readonly<z.output<typeof settingsSchema>>;

/** A setting as `--help` and the README show it. */
export interface SettingEntry extends About {
  readonly flag: string;
  /** Its key in the file; undefined for `--config` itself. */
  readonly key: string | undefined;
}

/** The table of settings. */
export const SETTINGS: readonly SettingEntry[] = [
  {
    flag: '--config',
    key: undefined,
    placeholder: 'FILE',
    default: 'none',
    help: 'YAML file with settings, keys in camelCase; flags win over it',
  },
  ...Object.entries(settings.shape).map(([key, type]) => {
    const about = ABOUT.get(type);
    if (about === undefined) throw new Error(`the setting ${key} is not described`);
    return { flag: flagOf(key), key, ...about };
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

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}
