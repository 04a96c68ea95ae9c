import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { AuthorizedAction } from '../../../src/access/authorization.ts';
import { ANONYMOUS, AUTHENTICATED_GROUP, type Caller } from '../../../src/access/caller.ts';
import { parseRules, VERBS } from '../../../src/access/rules.ts';
import { CHECKOUT } from '../../support/checkout.ts';

function caller(name: string, ...groups: string[]): Caller {
  return { name, groups: [...groups, AUTHENTICATED_GROUP], extra: new Map(), proof: 'client_certificate' };
}

const ALICE = caller('alice', 'ops');
const EXEC = { kind: 'exec', namespace: 'team-a', pod: 'web-1', container: 'app', command: ['ls', '-l'] } as const;
const EXEC_UNNAMED: AuthorizedAction = { kind: 'exec', namespace: 'team-a', pod: 'web-1', command: ['ls'] };
const GET: AuthorizedAction = { kind: 'pods', verb: 'get', namespace: 'team-a', pod: 'web-1' };
const LIST: AuthorizedAction = { kind: 'pods', verb: 'list', namespace: 'team-a' };
const LIST_ALL: AuthorizedAction = { kind: 'pods', verb: 'list' };
const LIST_SESSIONS: AuthorizedAction = { kind: 'sessions', verb: 'list' };
const END_SESSIONS: AuthorizedAction = { kind: 'sessions', verb: 'delete' };
const METRICS: AuthorizedAction = { kind: 'metrics' };
const ALL = {
  exec: EXEC,
  'exec of an unknown container': EXEC_UNNAMED,
  get: GET,
  list: LIST,
  'list of all namespaces': LIST_ALL,
  'list-sessions': LIST_SESSIONS,
  'end-sessions': END_SESSIONS,
  metrics: METRICS,
};

function allows(rule: string, action: AuthorizedAction, who: Caller = ALICE): boolean {
  return parseRules(`rules: [{ ${rule} }]`).decide(who, action).allowed;
}

/** The names of the actions that a rule allows to alice. */
function allowedBy(rule: string): string[] {
  return Object.entries(ALL).flatMap(([name, action]) => (allows(rule, action) ? [name] : []));
}

describe('who', () => {
  test('a user pattern or a group pattern is enough', () => {
    assert.ok(allows('users: [alice], groups: [nobody], verbs: [exec]', EXEC));
    assert.ok(allows('users: [bob], groups: ["o*"], verbs: [exec]', EXEC));
    assert.ok(!allows('users: [bob, ops], groups: [alice], verbs: [exec]', EXEC));
  });

  test('a bare star is everybody who is authenticated, service accounts too, and nobody else', () => {
    const serviceAccount = caller('system:serviceaccount:team-a:ci');
    for (const rule of ['users: ["*"], verbs: [exec]', 'groups: ["*"], verbs: [exec]']) {
      assert.ok(allows(rule, EXEC, ALICE), rule);
      assert.ok(allows(rule, EXEC, serviceAccount), rule);
      assert.ok(!allows(rule, EXEC, ANONYMOUS), rule);
    }
  });

  test('an anonymous caller is meant by patterns that begin with system: and by no others', () => {
    for (const who of ['users: ["system:anonymous"]', 'users: ["system:*"]', 'groups: ["system:unauthenticated"]']) {
      assert.ok(allows(`${who}, verbs: [exec]`, EXEC, ANONYMOUS), who);
    }
    for (const who of ['users: ["s*", "*anonymous", "?ystem:anonymous"]', 'groups: ["*:unauthenticated", "**"]']) {
      assert.ok(!allows(`${who}, verbs: [exec]`, EXEC, ANONYMOUS), who);
    }
  });

  test('a caller whom a proxy calls anonymous is anonymous', () => {
    const byName = { ...caller('system:anonymous'), proof: 'front_proxy' } as const;
    const byGroup = { ...caller('x', 'system:unauthenticated'), proof: 'front_proxy' } as const;
    for (const who of [byName, byGroup]) {
      assert.ok(!allows('users: ["*"], groups: ["*"], verbs: [exec]', EXEC, who));
      assert.ok(allows('users: ["system:anonymous"], groups: ["system:un*"], verbs: [exec]', EXEC, who));
    }
  });
});

describe('what', () => {
  test('without limits each verb allows its own action and no other', () => {
    assert.deepEqual(allowedBy('users: [alice], verbs: [exec]'), ['exec', 'exec of an unknown container']);
    assert.deepEqual(allowedBy('users: [alice], verbs: [get]'), ['get']);
    assert.deepEqual(allowedBy('users: [alice], verbs: [list]'), ['list', 'list of all namespaces']);
    for (const verb of ['list-sessions', 'end-sessions', 'metrics']) {
      assert.deepEqual(allowedBy(`users: [alice], verbs: [${verb}]`), [verb]);
    }
    assert.deepEqual(allowedBy('users: [alice], verbs: ["*"]'), Object.keys(ALL));
  });

  test('a limit allows nothing that goes beyond it, or that does not say whether it does', () => {
    const every = 'users: [alice], verbs: ["*"]';
    assert.deepEqual(allowedBy(`${every}, namespaces: ["team-*"]`), [
      'exec',
      'exec of an unknown container',
      'get',
      'list',
    ]);
    assert.deepEqual(allowedBy(`${every}, pods: ["web-*"]`), ['exec', 'exec of an unknown container', 'get']);
    assert.deepEqual(allowedBy(`${every}, containers: [app, b]`), ['exec', 'get'], 'get is of the pod as a whole');
    assert.deepEqual(allowedBy(`${every}, namespaces: [team-b]`), []);
    assert.deepEqual(allowedBy(`${every}, pods: [db-1]`), []);
    assert.deepEqual(allowedBy(`${every}, containers: [sidecar]`), ['get']);
  });

  test('a limit of "*" is none', () => {
    const rule = 'users: [alice], verbs: ["*"], namespaces: [x, "*"], pods: ["**"], containers: ["*"], commands: ["*"]';
    assert.deepEqual(allowedBy(rule), Object.keys(ALL));
  });

  test('limits do not add up over rules', () => {
    const rules = parseRules(`rules:
      - { users: [alice], namespaces: [team-a], pods: [db-1], verbs: [exec] }
      - { users: [alice], namespaces: [team-b], pods: [web-1], verbs: [exec] }`);
    assert.ok(!rules.decide(ALICE, EXEC).allowed);
    assert.ok(rules.decide(ALICE, { ...EXEC, pod: 'db-1' }).allowed);
  });

  test('commands limit exec and nothing else', () => {
    const rule = 'users: [alice], verbs: [exec, get, list], commands: ["ls *", "cat /var/log/*"]';
    assert.ok(allows(rule, EXEC));
    assert.ok(!allows(rule, { ...EXEC, command: ['rm', '-rf', '/'] }));
    assert.ok(!allows(rule, { ...EXEC, command: ['ls -l'] }));
    assert.ok(allows(rule, GET) && allows(rule, LIST_ALL));
  });
});

test('a refusal says nothing of what exists', () => {
  const decision = parseRules('rules: [{ users: [bob], verbs: [exec] }]').decide(ALICE, EXEC);
  assert.deepEqual(decision, { allowed: false, reason: 'no authorization rule allows it' });
});

test('explains each rule in one line, then the verdict', () => {
  const rules = parseRules(`rules:
    - { users: [alice], verbs: [list] }
    - { users: [bob], groups: [dev], verbs: [exec] }
    - { users: [alice], namespaces: ["b-*", x], verbs: [exec] }
    - { users: [alice], pods: [db], verbs: [exec] }
    - { users: [alice], containers: [db], verbs: [exec] }
    - { users: [alice], verbs: [exec], commands: ["cat *"] }
    - { groups: ["o?s"], verbs: [exec, get] }
    - { users: ["al*"], verbs: [exec] }`);
  const denials = [
    'rules[0] does not apply: it allows list, not exec',
    'rules[1] does not apply: it is for users "bob" and groups "dev"',
    'rules[2] does not apply: it is for namespaces "b-*", "x", not "team-a"',
    'rules[3] does not apply: it is for pods "db", not "web-1"',
    'rules[4] does not apply: it is for containers "db", not "app"',
    'rules[5] does not apply: it is for commands "cat *"',
  ];
  assert.deepEqual(rules.explain(ALICE, EXEC), [
    ...denials,
    'rules[6] applies: group "ops" matches "o?s"',
    'rules[7] applies: user "alice" matches "al*"',
    'allowed by rules[6]',
  ]);
  const bob = rules.explain(caller('bo\nb'), EXEC);
  assert.equal(bob.at(-1), 'denied: no rule applies');
  for (const line of bob) assert.doesNotMatch(line, /\n/);
});

test('explains what an action does not name', () => {
  const rules = parseRules(`rules:
    - { users: ["*"], namespaces: [a], verbs: ["*"] }
    - { users: ["*"], pods: [a], verbs: ["*"] }
    - { users: ["*"], containers: [a], verbs: ["*"] }`);
  const every = 'the action is not limited to a';
  assert.deepEqual(rules.explain(ALICE, LIST_SESSIONS), [
    `rules[0] does not apply: it is for namespaces "a", ${every} namespace`,
    `rules[1] does not apply: it is for pods "a", ${every} pod`,
    `rules[2] does not apply: it is for containers "a", ${every} container`,
    'denied: no rule applies',
  ]);
  assert.match(rules.explain(ALICE, EXEC_UNNAMED).at(2) ?? '', /, the request names no container$/);
  assert.match(
    rules.explain(ANONYMOUS, EXEC).at(0) ?? '',
    /users "\*", and only patterns that begin with "system:" mean/,
  );
});

test('tells of verbs and commands that a rule can never allow', () => {
  const { problems } = parseRules(`rules:
    - { users: [a], namespaces: [n], verbs: [exec, list, metrics] }
    - { users: [a], pods: [p], verbs: [get, list] }
    - { users: [a], verbs: [get], commands: [ls] }
    - { users: [a], namespaces: [n], containers: [c], verbs: ["*"] }`);
  assert.deepEqual(problems, [
    'rules[0].verbs: metrics is never allowed by a rule that is limited to some namespaces; give it a rule of its own',
    'rules[1].verbs: list is never allowed by a rule that is limited to some pods; give it a rule of its own',
    'rules[2].commands: has no effect without the verb exec',
  ]);
});

const BROKEN: [title: string, text: string, message: string | RegExp][] = [
  ['no YAML', 'rules: [', /^not valid YAML: [^\n]+ at line 1, column 9$/],
  [
    'a star without quotes',
    'rules:\n  - users: [*]',
    /line 2, column 13 \(a pattern that begins with \* needs quotes\)$/,
  ],
  ['a star that reads as an alias', 'rules:\n  - users: [*ci]', /^not valid YAML: an alias .*needs quotes\)$/],
  ['two documents', 'rules: []\n---\nrules: []', 'holds more than one YAML document'],
  ['a key twice', 'rules: []\nrules: []', /^not valid YAML: Map keys must be unique at line 2, column 1$/],
  ['a token of YAML out of place', 'rules: ]t0psecret', /^not valid YAML: (?!.*t0psecret)[^"]+ at line 1, column \d+$/],
  ['what yaml would quote', 'rules: |t0psecret', /^not valid YAML: (?!.*t0psecret)/],
  ['nothing', '', 'must be a mapping with the key "rules"'],
  ['a file of something else', 'secret,alice,1', 'must be a mapping with the key "rules"'],
  ['an unknown key', 'rule: []\nrules: [{ users: [a], verbs: [get] }]', 'there is no such key: "rule"'],
  ['no list', 'rules: { users: [a] }', 'rules: must be a list of rules'],
  ['a rule that is none', 'rules: [exec]', 'rules[0]: must be a mapping'],
  [
    'an unknown key of a rule',
    'rules: [{ users: [a], verbs: [get], pod: [a] }]',
    'rules[0]: there is no such key: "pod"',
  ],
  ['nobody', 'rules: [{ verbs: [exec] }]', 'rules[0]: must name users or groups'],
  ['an empty list', 'rules: [{ users: [], verbs: [exec] }]', 'rules[0].users: must not be empty'],
  ['an empty value', 'rules:\n - users: [a]\n   pods:\n   verbs: [exec]', 'rules[0].pods: must be a list of patterns'],
  ['text for a list', 'rules: [{ users: alice, verbs: [exec] }]', 'rules[0].users: must be a list of patterns'],
  ['a number for a name', 'rules: [{ users: [a, 7], verbs: [exec] }]', /^rules\[0\]\.users\[1\]: must be text: /],
  ['an empty pattern', 'rules: [{ groups: [""], verbs: [exec] }]', 'rules[0].groups[0]: must not be empty'],
  [
    'a control character',
    'rules: [{ users: ["a\\n"], verbs: [exec] }]',
    /^rules\[0\]\.users\[0\]: must not hold control/,
  ],
  [
    'a long pattern',
    `rules: [{ users: [${'a'.repeat(257)}], verbs: [get] }]`,
    /users\[0\]: must not be longer than 256/,
  ],
  ['no verbs', 'rules: [{ users: [a] }]', 'rules[0].verbs: must be a list of verbs'],
  [
    'an unknown verb',
    'rules: [{ users: [a], verbs: [get, delete] }]',
    `rules[0].verbs[1]: "delete" is none of ${VERBS.join(', ')} and "*"`,
  ],
  [
    'two spaces',
    'rules: [{ users: [a], verbs: [exec], commands: ["ls  -l"] }]',
    /^rules\[0\]\.commands\[0\]: must have single spaces/,
  ],
  ['a file that is too long', `rules: []\n#${'x'.repeat(64 * 1024)}`, 'must not be longer than 65536 characters'],
];
for (const [title, text, message] of BROKEN) {
  test(`refuses ${title} in one line that names the place`, () =>
    assert.throws(() => parseRules(text), { name: 'AccessFileError', message }));
}

test('the example that is shipped is in order', () => {
  const rules = parseRules(readFileSync(join(CHECKOUT, 'deploy', 'rules.example.yaml'), 'utf8'));
  assert.deepEqual(rules.problems, []);
  assert.ok(!rules.decide(ANONYMOUS, EXEC).allowed);
});

test('the examples of the documentation are in order', () => {
  const page = readFileSync(join(CHECKOUT, 'docs', 'authorization-rules.md'), 'utf8');
  const examples = [...page.matchAll(/```yaml\n(.*?)```/gs)].map(([, text = '']) => text);
  assert.ok(examples.length > 0);
  for (const example of examples) assert.deepEqual(parseRules(example).problems, [], example);
});

test('a file without a rule allows nothing, so that emptying it takes every right away', () => {
  const { allowed } = parseRules('rules: []').decide(ALICE, EXEC_UNNAMED);
  assert.equal(allowed, false);
});
