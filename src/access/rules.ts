import { LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { AccessFileError } from './access-file-error.ts';
import type { AuthorizedAction, Authorizer, Decision } from './authorization.ts';
import { ANONYMOUS, type Caller } from './caller.ts';
import { CommandGlob, Glob } from './glob.ts';

/** What a rule can allow. `list-sessions`, `end-sessions` and `metrics` are for the whole node. */
export const VERBS = ['exec', 'get', 'list', 'list-sessions', 'end-sessions', 'metrics'] as const;
export type Verb = (typeof VERBS)[number];

/** Hundreds of rules. YAML takes long to read, keys of one mapping the square of their number; every session waits meanwhile. */
const MAX_LENGTH = 64 * 1024;
const MAX_PATTERN_LENGTH = 256;

const STAR_HINT = 'a pattern that begins with * needs quotes';

/** The part of a name that callers who are not people have in Kubernetes, and that an anonymous one must be named by. */
const SYSTEM = 'system:';

interface Pattern {
  readonly pattern: string;
  readonly matchesAll: boolean;
}

const verbList = listOf(
  z.enum([...VERBS, '*'], { error: ({ input }) => `${JSON.stringify(input)} is none of ${VERBS.join(', ')} and "*"` }),
  'verbs',
).transform(verbs => ({ verbs: new Set(verbs.includes('*') ? VERBS : verbs), named: verbs }));

const pattern = z
  .string('must be text: put what YAML takes for something else into quotes')
  .min(1, 'must not be empty')
  .max(MAX_PATTERN_LENGTH, `must not be longer than ${MAX_PATTERN_LENGTH} characters`)
  .regex(/^\P{Cc}*$/u, 'must not hold control characters');
const globs = listOf(
  pattern.transform(text => new Glob(text)),
  'patterns',
);
/** Undefined where it limits nothing. */
const limit = globs.optional().transform(unlessAll);

const rule = z
  .strictObject(
    {
      users: globs.optional(),
      groups: globs.optional(),
      namespaces: limit,
      pods: limit,
      containers: limit,
      verbs: verbList,
      commands: listOf(
        pattern
          .regex(/^[^ ]+( [^ ]+)*$/, 'must have single spaces between its words, and none around them')
          .transform(text => new CommandGlob(text)),
        'patterns',
      )
        .optional()
        .transform(unlessAll),
    },
    'must be a mapping',
  )
  .refine(({ users, groups }) => users !== undefined || groups !== undefined, 'must name users or groups');

const rulesFile = z.strictObject(
  { rules: z.array(rule, 'must be a list of rules') },
  'must be a mapping with the key "rules"',
);

type Rule = z.output<typeof rule>;

/**
 * Reads a file of rules, as docs/authorization-rules.md describes it.
 *
 * @throws {AccessFileError} for the first thing that is wrong, with its line or its place
 */
export function parseRules(text: string): Rules {
  if (text.length > MAX_LENGTH) throw new AccessFileError(`must not be longer than ${MAX_LENGTH} characters`);
  const result = rulesFile.safeParse(parseYaml(text));
  if (result.success) return new Rules(result.data.rules);
  const [issue] = result.error.issues;
  const place = (issue?.path ?? []).map(part => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`)).join('');
  const unknown = issue?.code === 'unrecognized_keys' ? JSON.stringify(issue.keys[0]) : undefined;
  const problem = unknown === undefined ? issue?.message : `there is no such key: ${unknown}`;
  throw new AccessFileError(`${place === '' ? '' : `${place.slice(1)}: `}${problem ?? 'is malformed'}`);
}

function parseYaml(text: string): unknown {
  const lineCounter = new LineCounter();
  // Pretty errors hold a picture of the place each, and there may be one for each character.
  const document = parseDocument(text, { logLevel: 'error', prettyErrors: false, lineCounter });
  const [error] = document.errors;
  if (error?.code === 'MULTIPLE_DOCS') throw new AccessFileError('holds more than one YAML document');
  if (error !== undefined) {
    const { line, col } = lineCounter.linePos(error.pos[0]);
    const problem = error.message.replace(/: .*/s, ''); // what it quotes may be anything: this may be another file
    const hint = error.code === 'BAD_ALIAS' ? ` (${STAR_HINT})` : '';
    throw new AccessFileError(`not valid YAML: ${problem} at line ${line}, column ${col}${hint}`);
  }
  try {
    return document.toJS();
  } catch {
    // Without the message: it names the alias, which is whatever stands behind the star.
    throw new AccessFileError(`not valid YAML: an alias without its anchor, or too many of them (${STAR_HINT})`);
  }
}

function listOf<T extends z.ZodType>(element: T, what: string): z.ZodArray<T> {
  return z.array(element, `must be a list of ${what}`).min(1, 'must not be empty');
}

function unlessAll<T extends Pattern>(patterns: readonly T[] | undefined): readonly T[] | undefined {
  return patterns?.some(({ matchesAll }) => matchesAll) === true ? undefined : patterns;
}

/** Why a rule says nothing about an action: what of it does not fit. */
type Mismatch = 'verbs' | 'caller' | 'namespaces' | 'pods' | 'containers' | 'commands';

/** Who may do what, by the rules of a file: what no rule allows is denied. */
export class Rules implements Authorizer {
  readonly #rules: readonly Rule[];

  constructor(rules: readonly Rule[]) {
    this.#rules = rules;
  }

  get size(): number {
    return this.#rules.length;
  }

  /** What the rules say and cannot mean: one line for each part of a rule that never has an effect. */
  get problems(): readonly string[] {
    return this.#rules.flatMap((rule, index) => problemsOf(rule).map(problem => `rules[${index}].${problem}`));
  }

  decide(caller: Caller, action: AuthorizedAction): Decision {
    const allowed = this.#rules.some(rule => mismatchOf(rule, caller, action) === undefined);
    return allowed ? { allowed } : { allowed, reason: 'no authorization rule allows it' };
  }

  /** A line for each rule, why it does or does not apply; then the verdict. */
  explain(caller: Caller, action: AuthorizedAction): readonly string[] {
    const mismatches = this.#rules.map(rule => mismatchOf(rule, caller, action));
    const lines = this.#rules.map((rule, index) => {
      const mismatch = mismatches[index];
      if (mismatch === undefined) return `rules[${index}] applies: ${meaning(rule, caller)}`;
      return `rules[${index}] does not apply: ${describe(mismatch, rule, caller, action)}`;
    });
    const first = mismatches.indexOf(undefined);
    return [...lines, first === -1 ? 'denied: no rule applies' : `allowed by rules[${first}]`];
  }
}

function mismatchOf(rule: Rule, caller: Caller, action: AuthorizedAction): Mismatch | undefined {
  const verb = verbOf(action);
  if (!rule.verbs.verbs.has(verb)) return 'verbs';
  if (whoIsMeant(rule, caller) === undefined) return 'caller';
  // What the action does not name is all there is, or unknown: only a rule without that limit allows it.
  const { namespace, pod } = targetOf(action);
  if (!isWithin(rule.namespaces, namespace)) return 'namespaces';
  if (!isWithin(rule.pods, pod)) return 'pods';
  if (verb === 'get') return undefined; // of the pod as a whole
  if (!isWithin(rule.containers, action.kind === 'exec' ? action.container : undefined)) return 'containers';
  if (action.kind !== 'exec' || rule.commands === undefined) return undefined;
  return rule.commands.some(glob => glob.matches(action.command)) ? undefined : 'commands';
}

function isWithin(limit: readonly Glob[] | undefined, name: string | undefined): boolean {
  return limit === undefined || (name !== undefined && limit.some(glob => glob.matches(name)));
}

function verbOf(action: AuthorizedAction): Verb {
  switch (action.kind) {
    case 'exec':
      return 'exec';
    case 'pods':
      return action.verb;
    case 'sessions':
      return action.verb === 'list' ? 'list-sessions' : 'end-sessions';
    case 'metrics':
      return 'metrics';
  }
}

function targetOf(action: AuthorizedAction): { readonly namespace?: string; readonly pod?: string } {
  return action.kind === 'exec' || action.kind === 'pods' ? action : {};
}

/** The user or group of the caller that the rule means, and the pattern that means it. */
function whoIsMeant(
  { users = [], groups = [] }: Rule,
  caller: Caller,
): { readonly kind: 'user' | 'group'; readonly name: string; readonly glob: Glob } | undefined {
  // A star that is meant for everybody is seldom meant for those who have shown nothing.
  const counts = isAnonymous(caller) ? ({ pattern }: Glob) => pattern.startsWith(SYSTEM) : () => true;
  const user = users.find(glob => counts(glob) && glob.matches(caller.name));
  if (user !== undefined) return { kind: 'user', name: caller.name, glob: user };
  for (const glob of groups.filter(counts)) {
    const group = caller.groups.find(name => glob.matches(name));
    if (group !== undefined) return { kind: 'group', name: group, glob };
  }
  return undefined;
}

/** However it was proved: an API server's proxy forwards its own anonymous callers by name. */
function isAnonymous({ proof, name, groups }: Caller): boolean {
  return proof === 'anonymous' || name === ANONYMOUS.name || groups.some(group => ANONYMOUS.groups.includes(group));
}

function meaning(rule: Rule, caller: Caller): string {
  const who = whoIsMeant(rule, caller);
  return who === undefined ? '' : `${who.kind} ${quoted(who.name)} matches ${quoted(who.glob.pattern)}`;
}

function describe(mismatch: Mismatch, rule: Rule, caller: Caller, action: AuthorizedAction): string {
  const { namespace, pod } = targetOf(action);
  switch (mismatch) {
    case 'verbs':
      return `it allows ${[...rule.verbs.verbs].join(', ')}, not ${verbOf(action)}`;
    case 'caller': {
      const patterns = [
        ...(rule.users === undefined ? [] : [`users ${listed(rule.users)}`]),
        ...(rule.groups === undefined ? [] : [`groups ${listed(rule.groups)}`]),
      ];
      const note = isAnonymous(caller)
        ? `, and only patterns that begin with ${quoted(SYSTEM)} mean anonymous callers`
        : '';
      return `it is for ${patterns.join(' and ')}${note}`;
    }
    case 'namespaces':
      return outside(`namespaces ${listed(rule.namespaces)}`, namespace, 'the action is not limited to a namespace');
    case 'pods':
      return outside(`pods ${listed(rule.pods)}`, pod, 'the action is not limited to a pod');
    case 'containers':
      return action.kind === 'exec'
        ? outside(`containers ${listed(rule.containers)}`, action.container, 'the request names no container')
        : outside(`containers ${listed(rule.containers)}`, undefined, 'the action is not limited to a container');
    case 'commands':
      return `it is for commands ${listed(rule.commands)}`;
  }
}

function outside(limit: string, name: string | undefined, unnamed: string): string {
  return `it is for ${limit}, ${name === undefined ? unnamed : `not ${quoted(name)}`}`;
}

function listed(patterns: readonly Pattern[] = []): string {
  return patterns.map(({ pattern }) => quoted(pattern)).join(', ');
}

/** In one line, whatever it holds. */
function quoted(text: string): string {
  return JSON.stringify(text);
}

function problemsOf({ namespaces, pods, containers, commands, verbs: { verbs, named } }: Rule): string[] {
  const limits = Object.entries({ namespaces, pods, containers }).filter(([, globs]) => globs !== undefined);
  const problems = named.flatMap(verb => {
    if (verb === '*' || verb === 'exec' || verb === 'get') return [];
    const [limit] = limits.find(([key]) => verb !== 'list' || key !== 'namespaces') ?? [];
    if (limit === undefined) return [];
    return [`verbs: ${verb} is never allowed by a rule that is limited to some ${limit}; give it a rule of its own`];
  });
  if (commands !== undefined && !verbs.has('exec')) problems.push('commands: has no effect without the verb exec');
  return problems;
}
