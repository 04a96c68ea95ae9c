import { Command, Option } from 'commander';
import {
  questionOf,
  type AuthorizedAction,
  type AuthorizationResource,
  type Question,
} from '../access/authorization.ts';
import { ANONYMOUS, AUTHENTICATED_GROUP, groupsOf, type Caller } from '../access/caller.ts';
import { parseRules, VERBS, type Verb } from '../access/rules.ts';
import { parseTokenFile } from '../access/token-file.ts';
import { ClientError, messageOf } from '../client/client-error.ts';
import { print } from '../client/output.ts';
import { settle } from '../client/settle.ts';
import { loadSettings } from '../config/load.ts';
import type { Settings } from '../config/schema.ts';
import { readPlainFile } from '../files/plain-file.ts';
import { addSettingFlags, type SettingFlags } from './setting-flags.ts';

interface DoctorFlags {
  readonly as?: string;
  readonly asGroup?: readonly string[];
  readonly container?: string;
  readonly output: 'text' | 'json';
}

/** The API server would have to be asked. */
const NOT_DECIDED = 3;

/**
 * `execlet doctor`: whether the daemon works here with these settings, and what to do where it does not; with a verb, what the
 * configured authorisation decides about a caller, and why. Exits with 1 for a problem, and for a denial.
 */
export function doctorCommand(): Command {
  const command = new Command('doctor')
    .description(
      'look at the Engine, containers, permissions, files, clock and port that serve needs, and say what to do about each problem; ' +
        'with a VERB, tell what the configured authorisation decides, and why. Nothing is changed. ' +
        'Exits with 1 for a problem or a denial, 3 where the API server decides',
    )
    .usage('[SETTING…] [--as USER [--as-group GROUP]… VERB [NAMESPACE[/POD]] [-c CONTAINER] [-- COMMAND [ARGUMENT…]]]')
    .argument('[verb]', VERBS.join(', '))
    .argument('[target]', 'NAMESPACE/POD for exec and get, NAMESPACE for list (default: all), nothing for the others')
    .argument('[command...]', 'what exec is to run')
    .option('--as <USER>', 'name of the caller; system:anonymous is whoever shows no credential')
    .option(
      '--as-group <GROUP>',
      'a group of the caller; may be given again (default: those that --token-auth-file has of the user)',
      append,
    )
    .option('-c, --container <NAME>', 'container that exec names (default: none)')
    .addOption(
      new Option('-o, --output <FORMAT>', 'of the checks; json is a list of {check, result, text}')
        .choices(['text', 'json'])
        .default('text'),
    );
  return addSettingFlags(command).action(
    (verb: string | undefined, target: string | undefined, argv: string[], flags: DoctorFlags & SettingFlags) =>
      settle(() => (verb === undefined ? checkNode(flags) : diagnose({ verb, target, command: argv, flags }))),
  );
}

function append(value: string, values: readonly string[] = []): readonly string[] {
  return [...values, value];
}

interface DoctorRequest {
  readonly verb: string;
  readonly target: string | undefined;
  readonly command: readonly string[];
  readonly flags: DoctorFlags & SettingFlags;
}

/** Without settings it is about the daemon that runs without settings. */
async function checkNode({ as, asGroup, container, output, ...flags }: DoctorFlags & SettingFlags): Promise<number> {
  if (as !== undefined || asGroup !== undefined || container !== undefined) {
    throw ClientError.usage(`--as, --as-group and --container need one of ${VERBS.join(', ')}`);
  }
  const settings = loadSettings({ flags, env: process.env, readFile: readPlainFile });
  // Loaded here, so that a question about a caller need not wait for it.
  const { examine } = await import('../doctor/doctor.ts');
  const checks = await examine(settings);
  const lines = checks.map(({ result, text }) => `${result}: ${text}\n`).join('');
  await print(output === 'json' ? `${JSON.stringify(checks, null, 2)}\n` : lines);
  return checks.some(({ result }) => result === 'problem') ? 1 : 0;
}

async function diagnose({ verb, target, command, flags }: DoctorRequest): Promise<number> {
  const { as, asGroup, container, output, ...settingFlags } = flags;
  if (output === 'json') throw ClientError.usage(`--output json is for the checks, without ${verb}`);
  if (as === undefined) throw ClientError.usage(`${verb} needs --as USER`);
  const action = actionOf({ verb, target, container, command });
  if (Object.keys(settingFlags).length === 0) {
    throw ClientError.usage("doctor needs the daemon's settings: --config FILE, or its flags");
  }
  const settings = loadSettings({ flags: settingFlags, env: process.env, readFile: readPlainFile });
  const { authorizationMode: mode, authorizationRulesFile: rulesFile, authorizationResource, nodeName } = settings;
  const { tokenAuthFile } = settings;
  const { caller, known, unknown } = findCaller(as, {
    groups: asGroup,
    ...(tokenAuthFile !== undefined && {
      tokenFile: { path: tokenAuthFile, text: readNamed('tokenAuthFile', tokenAuthFile) },
    }),
  });
  const { allowed, lines } = explainDecision({
    mode,
    rulesText: rulesFile === undefined ? undefined : readNamed('authorizationRulesFile', rulesFile),
    caller,
    action,
    resource: authorizationResource,
    nodeName,
  });
  const denied = !allowed && mode === 'Rules';
  const hints = [
    ...(denied && action.kind === 'exec' && container === undefined
      ? ['where the pod has one container, the daemon asks about that: name it with -c']
      : []),
    ...(denied && unknown !== undefined ? [unknown] : []),
  ];
  const before = known === undefined ? [] : [`note: ${known}`];
  await print([...before, ...lines, ...hints.map(hint => `note: ${hint}`)].map(line => `${line}\n`).join(''));
  return mode === 'Webhook' ? NOT_DECIDED : allowed ? 0 : 1;
}

function readNamed(place: 'authorizationRulesFile' | 'tokenAuthFile', file: string): string {
  try {
    return readPlainFile(file);
  } catch (error) {
    throw ClientError.usage(`${place}: ${messageOf(error)}`, error);
  }
}

interface FoundCaller {
  readonly caller: Caller;
  /** That the groups are the token file's. */
  readonly known?: string;
  /** That nobody has said which groups the caller has: a rule may go by them. */
  readonly unknown?: string;
}

/**
 * Whoever the flags name. Without groups of theirs they are as a token of the file shows them to the daemon.
 *
 * @throws {ClientError} a usage error, for a user whose tokens have different groups: nobody knows which is meant
 */
export function findCaller(
  name: string,
  {
    groups,
    tokenFile,
  }: {
    groups?: readonly string[] | undefined;
    tokenFile?: { readonly path: string; readonly text: string };
  },
): FoundCaller {
  if (name === ANONYMOUS.name || groups !== undefined) return { caller: callerOf(name, groups ?? []) };
  const unknown =
    `no groups of ${name} were given${tokenFile === undefined ? '' : `, and ${tokenFile.path} has none`}: ` +
    '--as-group GROUP says them';
  if (tokenFile === undefined) return { caller: callerOf(name, []), unknown };
  const found = parseTokenFile(tokenFile.text).callersNamed(name);
  const [caller = callerOf(name, [])] = found;
  const named = found.map(one => one.groups.filter(group => group !== AUTHENTICATED_GROUP));
  if (new Set(named.map(list => JSON.stringify(list.toSorted()))).size > 1) {
    throw ClientError.usage(`${tokenFile.path} has tokens of ${name} with different groups: choose with --as-group`);
  }
  const [own = []] = named;
  if (own.length === 0) return { caller, unknown };
  return { caller, known: `the groups of ${name} are those of ${tokenFile.path}: ${own.join(', ')}` };
}

/** Whoever the flags name, as an authenticator would have found them. */
export function callerOf(name: string, groups: readonly string[]): Caller {
  if (name === ANONYMOUS.name) return ANONYMOUS;
  return {
    name,
    groups: groupsOf(name, groups),
    extra: new Map(),
    proof: 'client_certificate',
  };
}

/** What the command line asks about. Throws a usage error for a target that does not go with the verb. */
export function actionOf({
  verb: given,
  target,
  container,
  command = [],
}: {
  verb: string;
  target?: string | undefined;
  container?: string | undefined;
  command?: readonly string[];
}): AuthorizedAction {
  const verb = VERBS.find(known => known === given);
  if (verb === undefined) throw ClientError.usage(`"${given}" is none of ${VERBS.join(', ')}`);
  if (verb !== 'exec' && (container !== undefined || command.length > 0)) {
    throw ClientError.usage(`${container === undefined ? 'a command' : '--container'} is for exec only`);
  }
  const { namespace, pod } = targetOf(verb, target);
  switch (verb) {
    case 'exec':
      return { kind: 'exec', namespace, pod, ...(container !== undefined && { container }), command };
    case 'get':
      return { kind: 'pods', verb, namespace, pod };
    case 'list':
      return { kind: 'pods', verb, ...(namespace !== '' && { namespace }) };
    case 'list-sessions':
      return { kind: 'sessions', verb: 'list' };
    case 'end-sessions':
      return { kind: 'sessions', verb: 'delete' };
    case 'metrics':
      return { kind: 'metrics' };
  }
}

/** Empty where the verb takes none, or needs none. */
function targetOf(verb: Verb, target: string | undefined): { namespace: string; pod: string } {
  const [namespace = '', pod = '', ...rest] = target?.split('/') ?? [];
  switch (verb) {
    case 'exec':
    case 'get':
      if (namespace !== '' && pod !== '' && rest.length === 0) return { namespace, pod };
      throw ClientError.usage(`${verb} needs NAMESPACE/POD`);
    case 'list':
      if (target === undefined || (namespace !== '' && target === namespace)) return { namespace, pod };
      throw ClientError.usage('list takes a NAMESPACE, or nothing for all of them');
    default:
      if (target === undefined) return { namespace, pod };
      throw ClientError.usage(`${verb} is for the whole node and takes no target`);
  }
}

/**
 * What the daemon would decide, and why, one line each.
 *
 * @throws {ClientError} a usage error, for rules that are missing or malformed
 */
export function explainDecision({
  mode,
  rulesText,
  caller,
  action,
  resource = 'pods/exec',
  nodeName,
}: {
  mode: Settings['authorizationMode'];
  /** Of the rules file; for the mode Rules only. */
  rulesText?: string | undefined;
  caller: Caller;
  action: AuthorizedAction;
  resource?: AuthorizationResource;
  nodeName: string;
}): { readonly allowed: boolean; readonly lines: readonly string[] } {
  switch (mode) {
    case undefined:
      return {
        allowed: true,
        lines: [
          'no authorization mode is set: serve starts only on a loopback address without an authenticator',
          'allowed: everybody who reaches it is system:anonymous and may do everything',
        ],
      };
    case 'AlwaysAllow':
      return { allowed: true, lines: ['allowed: the authorization mode AlwaysAllow allows everything'] };
    case 'Webhook':
      return {
        allowed: false,
        lines: [
          'the API server decides, and is not asked here; ask it with:',
          canIOf(questionOf(action, { resource, nodeName }), caller),
        ],
      };
    case 'Rules': {
      const rules = readRulesText(rulesText);
      const { allowed } = rules.decide(caller, action);
      return { allowed, lines: [...rules.problems, ...rules.explain(caller, action)] };
    }
  }
}

function readRulesText(text: string | undefined): ReturnType<typeof parseRules> {
  if (text === undefined) throw ClientError.usage('authorizationRulesFile: the mode Rules needs it');
  try {
    return parseRules(text);
  } catch (error) {
    throw ClientError.usage(`authorizationRulesFile: ${messageOf(error)}`, error);
  }
}

/** The question as kubectl asks it, for a POSIX shell. Whoever runs it needs the right to impersonate the caller. */
function canIOf(question: Question, caller: Caller): string {
  const words = ['kubectl', 'auth', 'can-i', question.verb];
  if ('path' in question) {
    words.push(question.path);
  } else {
    const { group, resource, subresource, namespace, name } = question;
    const type = group === '' ? resource : `${resource}.${group}`;
    words.push(name === undefined ? type : `${type}/${name}`);
    if (subresource !== undefined) words.push(`--subresource=${subresource}`);
    if (namespace !== undefined) words.push(`--namespace=${namespace}`);
    else if (resource === 'pods') words.push('--all-namespaces');
  }
  // The API server itself adds the group of the authenticated, or that of the anonymous, to whoever is impersonated.
  const groups = caller.groups.filter(group => group !== AUTHENTICATED_GROUP && !ANONYMOUS.groups.includes(group));
  words.push(`--as=${caller.name}`, ...groups.map(group => `--as-group=${group}`));
  return words.map(quoted).join(' ');
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
