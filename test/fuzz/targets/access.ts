import assert from 'node:assert/strict';
import fc from 'fast-check';
import { AccessFileError } from '../../../src/access/access-file-error.ts';
import type { AuthorizedAction } from '../../../src/access/authorization.ts';
import { ANONYMOUS, AUTHENTICATED_GROUP, type Caller } from '../../../src/access/caller.ts';
import { CommandGlob, Glob } from '../../../src/access/glob.ts';
import { parseRules } from '../../../src/access/rules.ts';
import { parseTokenFile } from '../../../src/access/token-file.ts';
import { outcomeOf, type FuzzTarget } from '../target.ts';

/** As long as a pattern of a rule may be. */
const MAX_PATTERN_LENGTH = 256;

/** What a pattern means, read off its table of all beginnings of both, which takes no short cuts. */
function matchesByTable<Wanted, Item>(
  pattern: readonly Wanted[],
  items: readonly Item[],
  isStar: (wanted: Wanted) => boolean,
  fits: (wanted: Wanted, item: Item) => boolean,
): boolean {
  let row = items.map(() => false);
  let empty = true;
  for (const wanted of pattern) {
    let before = empty;
    empty &&= isStar(wanted);
    let left = empty;
    row = items.map((item, at) => {
      const above = row[at] === true;
      left = isStar(wanted) ? above || left : before && fits(wanted, item);
      before = above;
      return left;
    });
  }
  return items.length === 0 ? empty : row.at(-1) === true;
}

const globMatches = (pattern: string, text: string): boolean =>
  matchesByTable(
    pattern.split(''),
    text.split(''),
    wanted => wanted === '*',
    (wanted, character) => wanted === '?' || wanted === character,
  );

const fewLetters = fc.string({ unit: fc.constantFrom('a', 'b', '*', '?', ' '), maxLength: 20 });

/** A pattern in the first line, and a text or the arguments of a command in the others: matched as they are meant. */
export const glob: FuzzTarget = {
  name: 'glob',
  sources: ['access/glob.ts'],
  tokens: ['*', '?', 'a', 'b', ' ', '\n', 'a*', '*b', 'aaaaaaaaaaaa', ' * '],
  nearlyRight: fc.array(fewLetters, { minLength: 2, maxLength: 6 }).map(lines => lines.join('\n')),
  check: input => {
    const [pattern = '', ...lines] = input.subarray(0, 2048).toString().split('\n');
    const wanted = pattern.slice(0, MAX_PATTERN_LENGTH);
    const text = lines.join('\n');
    assert.equal(new Glob(wanted).matches(text), globMatches(wanted, text));
    const expected = matchesByTable(wanted.split(' '), lines, word => /^\*+$/.test(word), globMatches);
    assert.equal(new CommandGlob(wanted).matches(lines), expected);
  },
};

const TARGET = { namespace: 'team-a', pod: 'web-1' };
const ACTIONS: readonly AuthorizedAction[] = [
  { kind: 'exec', ...TARGET, container: 'app', command: ['ls', '-l'] },
  { kind: 'exec', ...TARGET, command: ['sh', '-c', 'a\nb'] },
  { kind: 'pods', verb: 'get', ...TARGET },
  { kind: 'pods', verb: 'list', namespace: 'team-a' },
  { kind: 'pods', verb: 'list' },
  { kind: 'sessions', verb: 'list' },
  { kind: 'sessions', verb: 'delete' },
  { kind: 'metrics' },
];
const ALICE: Caller = {
  name: 'alice',
  groups: ['ops', AUTHENTICATED_GROUP],
  extra: new Map(),
  proof: 'client_certificate',
};

const names = fc.array(fc.constantFrom('alice', 'ops', '*', 'a*', 'system:*', 'team-?', 'web-*', 'app', 'x'), {
  maxLength: 3,
});
const verbs = ['exec', 'get', 'list', 'list-sessions', 'end-sessions', 'metrics', '*', 'delete'];

/** Any text is rules or an error of one line; rules decide as they explain, and let nobody in whom they do not name. */
export const rules: FuzzTarget = {
  name: 'rules',
  sources: ['access/rules.ts'],
  tokens: [
    ...['rules:\n', '  - users: [alice]\n', '    verbs: [exec]\n', '    verbs: ["*"]\n', '    groups: ["system:*"]\n'],
    ...['    namespaces: ["team-*"]\n', '    pods: [web-1]\n', '    containers: [app]\n', '    commands: ["ls *"]\n'],
    ...['[', ']', '{', '}', '- ', '&a ', '*a', '!!binary ', '"', '? ', '<<: ', '---\n', ', '],
  ],
  nearlyRight: fc
    .array(
      fc.record(
        {
          users: names,
          groups: names,
          namespaces: names,
          pods: names,
          containers: names,
          verbs: fc.array(fc.constantFrom(...verbs), { maxLength: 3 }),
          commands: fc.array(fc.constantFrom('*', 'ls *', 'ls -l', ' ls', 'sh -c *'), { maxLength: 2 }),
        },
        { requiredKeys: ['users', 'verbs'] },
      ),
      { maxLength: 4 },
    )
    .map(list => JSON.stringify({ rules: list })),
  check: input => {
    const text = input.toString();
    const parsed = outcomeOf(() => parseRules(text), AccessFileError);
    if ('error' in parsed) {
      assert.match(parsed.error.message, /^[^\n]+$/);
      return;
    }
    for (const problem of parsed.value.problems) assert.match(problem, /^rules\[\d+\]\.[^\n]+$/);
    const allowed = (caller: Caller, action: AuthorizedAction): boolean => {
      const decision = parsed.value.decide(caller, action);
      const lines = parsed.value.explain(caller, action);
      for (const line of lines) assert.doesNotMatch(line, /\n/);
      assert.match(lines.at(-1) ?? '', decision.allowed ? /^allowed by rules\[\d+\]$/ : /^denied: no rule applies$/);
      return decision.allowed;
    };
    for (const action of ACTIONS) {
      const byName = allowed(ALICE, action);
      if (allowed(ANONYMOUS, action)) assert.match(text, /system:|\\|!!binary/);
      if (byName) assert.match(text, /alice|ops|authenticated|[*?]|\\|!!binary/);
    }
  },
};

/** CSV as Go writes it: quotes around all, and doubled within. */
const csvOf = (rows: readonly (readonly string[])[]): string =>
  rows.map(columns => `${columns.map(column => `"${column.replaceAll('"', '""')}"`).join(',')}\n`).join('');

/** Any text is tokens or an error of one line, and no word of a token is in what it says. */
export const tokenFile: FuzzTarget = {
  name: 'token-file',
  sources: ['access/token-file.ts'],
  tokens: ['t0k', ',', '"', '""', '\n', '\r\n', '\r', ' ', 'alice', 'uid', '"a,b"', '#', 't0k,alice,uid\n', 'ü'],
  nearlyRight: fc
    .array(fc.array(fc.constantFrom('t0k', 't0k1', 'alice', '', 'a,b', 'a"b', '\n', ' '), { maxLength: 5 }), {
      maxLength: 6,
    })
    .map(csvOf),
  check: input => {
    const text = input.toString();
    const parsed = outcomeOf(() => parseTokenFile(text), AccessFileError);
    if ('error' in parsed) {
      assert.match(parsed.error.message, /^line \d+: [^\n]+$/);
      assert.doesNotMatch(parsed.error.message, /t0k/);
      return;
    }
    const { problems, size } = parsed.value;
    for (const problem of problems) {
      assert.match(problem, /^line \d+: [^\n]+: this line (is skipped|wins)$/);
      assert.doesNotMatch(problem, /t0k/);
    }
    const rows = rowsIn(text);
    const known = new Map(
      rows.filter(([token = '', name]) => /^[!-~]+$/.test(token) && name !== '').map(row => [row[0], row]),
    );
    assert.equal(size, known.size);
    assert.equal(problems.length, rows.length - size);
    for (const [token = '', row] of known) {
      const [, name, uid, groups = ''] = row;
      const caller = parsed.value.lookup(token);
      assert.deepEqual([caller?.name, caller?.uid ?? ''], [name, uid]);
      const named = groups.split(',').filter(group => group !== '');
      assert.deepEqual(caller?.groups, [...new Set([...named, AUTHENTICATED_GROUP])]);
      assert.equal(parsed.value.lookup(`${token} `), undefined);
    }
    assert.equal(parsed.value.lookup(''), undefined);
  },
};

/** The rows of CSV that is right, read one character after the other. */
function rowsIn(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let column = '';
  let quoted = false;
  let closed = false; // by the character before
  let bare = true; // nothing but its end in this line: no row
  for (const character of `${text.replaceAll('\r\n', '\n').replace(/\r$/, '')}\n`) {
    if (character === '"') {
      quoted = !quoted;
      if (quoted && closed) column += '"'; // two of them within quotes are one
      closed = !quoted;
      bare = false;
      continue;
    }
    closed = false;
    if (!quoted && (character === ',' || character === '\n')) {
      row.push(column);
      column = '';
      if (character === '\n') {
        if (!bare) rows.push(row);
        row = [];
      }
      bare = character === '\n';
    } else {
      column += character;
      bare = false;
    }
  }
  return rows;
}
