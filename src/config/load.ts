import { hostname } from 'node:os';
import { createSecureContext } from 'node:tls';
import { parse as parseYaml, YAMLParseError } from 'yaml';
import type { z } from 'zod';
import { CertificateBundle } from '../access/certificate-bundle.ts';
import { parseRules } from '../access/rules.ts';
import { parseTokenFile } from '../access/token-file.ts';
import { accessProblem } from './access-settings.ts';
import { defaultEndpoint } from './endpoint.ts';
import { flagOf, settingsSchema, type Settings } from './schema.ts';
import { SettingsError } from './settings-error.ts';

/** Where settings come from. */
export interface SettingsSources {
  /** As they were given, keys in camelCase; `config` names the file. */
  readonly flags: Readonly<Record<string, string | readonly string[]>>;
  readonly env: { readonly DOCKER_HOST?: string | undefined };
  /** The file's text. Throws as `fs.readFileSync` does. */
  readonly readFile: (path: string) => string;
}

type FileKey = 'clientCaFile' | 'requestheaderClientCaFile' | 'tokenAuthFile' | 'authorizationRulesFile';
type Given = Readonly<Record<string, unknown>>;
/** Where the person who set a key has to look: the flag, the file and its key, or the environment. */
type PlaceOf = (key: string) => string;

/**
 * The settings to run with: flags win over the file, the file over the environment, and that over the defaults.
 *
 * @throws {SettingsError} for the first thing that is wrong
 */
export function loadSettings({ flags, env, readFile }: SettingsSources): Settings {
  const { config: given, ...fromFlags } = flags;
  const config = String(given ?? '');
  const fromFile = given === undefined ? {} : readSettingsFile(config, readFile);
  const placeOf: PlaceOf = key => {
    if (Object.hasOwn(fromFlags, key)) return flagOf(key);
    if (Object.hasOwn(fromFile, key)) return `${config}: ${inOneLine(key)}`;
    return key === 'dockerEndpoint' ? 'DOCKER_HOST' : flagOf(key);
  };
  const result = settingsSchema.safeParse({
    dockerEndpoint: defaultEndpoint(env),
    nodeName: hostname().toLowerCase(), // as the kubelet names a node
    ...fromFile,
    ...fromFlags,
  });
  if (!result.success) throw new SettingsError(describe(result.error, placeOf));
  const settings = result.data;
  const wrong = accessProblem(settings);
  if (wrong !== undefined) throw new SettingsError(`${placeOf(wrong.key)}: ${wrong.problem}`);
  checkTlsFiles(settings, placeOf, readFile);
  /** The daemon reads it itself, and again whenever it changes; this is for the message. */
  const checkFile = (key: FileKey, parse: (text: string) => unknown): void => {
    const path = settings[key];
    if (path === undefined) return;
    const text = readNamedFile(placeOf(key), path, readFile);
    try {
      parse(text);
    } catch (cause) {
      throw new SettingsError(`${placeOf(key)}: ${path}: ${messageOf(cause)}`, { cause });
    }
  };
  checkFile('clientCaFile', text => new CertificateBundle(text));
  checkFile('requestheaderClientCaFile', text => new CertificateBundle(text));
  checkFile('tokenAuthFile', parseTokenFile);
  checkFile('authorizationRulesFile', parseRules);
  return settings;
}

/** The first issue, in one line. */
function describe({ issues: [issue], message }: z.ZodError, placeOf: PlaceOf): string {
  if (issue === undefined) return message;
  if (issue.code === 'unrecognized_keys') return `${placeOf(issue.keys[0] ?? '')}: there is no such setting`;
  return `${placeOf(String(issue.path[0]))}: ${issue.message}`;
}

/** YAML takes anything for a key. */
function inOneLine(key: string): string {
  return /\p{C}/u.test(key) ? JSON.stringify(key) : key;
}

function readSettingsFile(path: string, readFile: SettingsSources['readFile']): Given {
  const text = readNamedFile('--config', path, readFile);
  let content: unknown;
  try {
    content = parseYaml(text, { logLevel: 'error' });
  } catch (cause) {
    throw new SettingsError(`${path}: ${yamlProblem(cause)}`, { cause });
  }
  content ??= {}; // nothing but comments
  if (typeof content !== 'object' || Array.isArray(content)) {
    throw new SettingsError(`${path}: must hold settings as "key: value", and holds something else`);
  }
  return { ...content };
}

function yamlProblem(cause: unknown): string {
  if (cause instanceof YAMLParseError && cause.code === 'MULTIPLE_DOCS') return 'holds more than one YAML document';
  // The first line of yaml's message says what is wrong and where; the rest is a picture of it.
  const [firstLine = ''] = messageOf(cause).split('\n');
  return `not valid YAML: ${firstLine.replace(/:$/, '')}`;
}

/** Finds out at the start what would otherwise fail later: files that are missing, no PEM, or no pair. */
function checkTlsFiles(settings: Settings, placeOf: PlaceOf, readFile: SettingsSources['readFile']): void {
  const { tlsCertFile, tlsPrivateKeyFile } = settings;
  if (tlsCertFile === undefined && tlsPrivateKeyFile === undefined) return;
  const certPlace = placeOf('tlsCertFile');
  const keyPlace = placeOf('tlsPrivateKeyFile');
  if (tlsCertFile === undefined) throw new SettingsError(`${keyPlace}: needs --tls-cert-file too`);
  if (tlsPrivateKeyFile === undefined) throw new SettingsError(`${certPlace}: needs --tls-private-key-file too`);
  const cert = readNamedFile(certPlace, tlsCertFile, readFile);
  const key = readNamedFile(keyPlace, tlsPrivateKeyFile, readFile);
  tryTls(`${certPlace}: ${tlsCertFile} holds no certificate`, { cert });
  tryTls(`${keyPlace}: ${tlsPrivateKeyFile} holds no private key`, { key });
  tryTls(`${keyPlace}: ${tlsPrivateKeyFile} is not the key of ${tlsCertFile}`, { cert, key });
}

function tryTls(problem: string, options: { cert?: string; key?: string }): void {
  try {
    createSecureContext(options);
  } catch (cause) {
    throw new SettingsError(`${problem} (${messageOf(cause)})`, { cause });
  }
}

function readNamedFile(place: string, path: string, readFile: SettingsSources['readFile']): string {
  try {
    return readFile(path);
  } catch (cause) {
    throw new SettingsError(`${place}: cannot read ${path} (${messageOf(cause)})`, { cause });
  }
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
