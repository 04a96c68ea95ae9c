import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Action } from '../../../src/access/authorization.ts';
import { ANONYMOUS, AUTHENTICATED_GROUP } from '../../../src/access/caller.ts';
import { actionOf, callerOf, explainDecision, findCaller } from '../../../src/commands/doctor.ts';
import { CHECKOUT } from '../../support/checkout.ts';
import { runCommand } from '../../support/command.ts';

const ALICE = callerOf('alice', ['ops']);
const EXEC = { kind: 'exec', namespace: 'team-a', pod: 'web-1', command: ['ls', '-l'] } as const;
const nodeName = 'node-1';

test('with Rules it says why, with what is wrong in the rules, and decides as the daemon does', () => {
  const rulesText = 'rules: [{ users: [alice], namespaces: ["team-*"], verbs: [exec, metrics] }]';
  const asked = { mode: 'Rules', rulesText, caller: ALICE, nodeName } as const;
  const problem =
    'rules[0].verbs: metrics is never allowed by a rule that is limited to some namespaces; give it a rule of its own';
  assert.deepEqual(explainDecision({ ...asked, action: EXEC }), {
    allowed: true,
    lines: [problem, 'rules[0] applies: user "alice" matches "alice"', 'allowed by rules[0]'],
  });
  assert.deepEqual(explainDecision({ ...asked, action: { kind: 'sessions', verb: 'list' } }), {
    allowed: false,
    lines: [problem, 'rules[0] does not apply: it allows exec, metrics, not list-sessions', 'denied: no rule applies'],
  });
});

test('rules that are missing or malformed are a usage error', () => {
  const asked = { mode: 'Rules', caller: ALICE, action: EXEC, nodeName } as const;
  assert.throws(() => explainDecision(asked), {
    exitCode: 2,
    message: /^authorizationRulesFile: the mode Rules needs it/,
  });
  assert.throws(() => explainDecision({ ...asked, rulesText: 'rules: {}' }), {
    exitCode: 2,
    message: 'authorizationRulesFile: rules: must be a list of rules',
  });
});

test('AlwaysAllow allows, and no mode is what loopback without an authenticator has', () => {
  for (const mode of ['AlwaysAllow', undefined] as const) {
    const { allowed, lines } = explainDecision({ mode, caller: ALICE, action: EXEC, nodeName });
    assert.equal(allowed, true);
    assert.match(lines.at(-1) ?? '', /^allowed: /);
  }
});

test('with Webhook it gives the question to kubectl, and allows nothing itself', () => {
  const ask = (action: Exclude<Action, { kind: 'discovery' }>, caller = ALICE): string => {
    const { allowed, lines } = explainDecision({ mode: 'Webhook', caller, action, nodeName });
    assert.equal(allowed, false);
    assert.match(lines[0] ?? '', /^the API server decides/);
    return lines[1] ?? '';
  };
  const as = '--as=alice --as-group=ops';
  assert.equal(ask(EXEC), `kubectl auth can-i create pods/web-1 --subresource=exec --namespace=team-a ${as}`);
  assert.equal(
    ask({ kind: 'pods', verb: 'get', namespace: 'a', pod: 'b' }),
    `kubectl auth can-i get pods/b --namespace=a ${as}`,
  );
  assert.equal(ask({ kind: 'pods', verb: 'list' }), `kubectl auth can-i list pods --all-namespaces ${as}`);
  assert.equal(ask({ kind: 'sessions', verb: 'delete' }), `kubectl auth can-i delete sessions.execlet.dev ${as}`);
  assert.equal(ask({ kind: 'metrics' }), `kubectl auth can-i get /metrics ${as}`);
  assert.equal(ask({ kind: 'metrics' }, ANONYMOUS), 'kubectl auth can-i get /metrics --as=system:anonymous');
  assert.match(ask({ kind: 'metrics' }, callerOf("o'x; rm", [])), / '--as=o'\\''x; rm'$/);
  const { lines } = explainDecision({
    mode: 'Webhook',
    caller: ALICE,
    action: EXEC,
    nodeName,
    resource: 'nodes/proxy',
  });
  assert.equal(lines[1], `kubectl auth can-i create nodes/node-1 --subresource=proxy ${as}`);
});

test('the caller is as an authenticator finds them', () => {
  assert.deepEqual(ALICE.groups, ['ops', AUTHENTICATED_GROUP]);
  assert.equal(callerOf('system:anonymous', ['ops']), ANONYMOUS);
});

test('without --as-group the caller is as the token file has them, and where nobody says groups that is told', () => {
  const path = 'tokens.csv';
  const text = 'a,alice,1,"ops,dev"\nb,bob,2\nc,alice,1,"dev,ops"\nd,carol,3,ops\ne,carol,3,dev\n';
  const tokenFile = { path, text };
  const { caller, ...notes } = findCaller('alice', { tokenFile });
  assert.deepEqual([caller.groups, caller.uid], [['ops', 'dev', AUTHENTICATED_GROUP], '1']);
  assert.deepEqual(notes, { known: 'the groups of alice are those of tokens.csv: ops, dev' });
  assert.deepEqual(findCaller('alice', { tokenFile, groups: ['x'] }), { caller: callerOf('alice', ['x']) });
  const none = 'no groups of bob were given, and tokens.csv has none: --as-group GROUP says them';
  assert.deepEqual({ ...findCaller('bob', { tokenFile }), caller: undefined }, { caller: undefined, unknown: none });
  assert.equal(findCaller('bob', { tokenFile }).caller.uid, '2');
  assert.deepEqual(findCaller('dave', { tokenFile }), {
    caller: callerOf('dave', []),
    unknown: none.replaceAll('bob', 'dave'),
  });
  assert.deepEqual(findCaller('dave', {}), {
    caller: callerOf('dave', []),
    unknown: 'no groups of dave were given: --as-group GROUP says them',
  });
  assert.deepEqual(findCaller('system:anonymous', { tokenFile }), { caller: ANONYMOUS });
  assert.throws(() => findCaller('carol', { tokenFile }), {
    exitCode: 2,
    message: 'tokens.csv has tokens of carol with different groups: choose with --as-group',
  });
});

test('the command goes by the token file of the settings, and says so', async t => {
  const cwd = await mkdtemp(join(tmpdir(), 'execlet-'));
  t.after(() => rm(cwd, { recursive: true }));
  await writeFile(join(cwd, 'tokens.csv'), 't0p,alice,1,ops\nt1p,bob,2\n');
  await writeFile(join(cwd, 'rules.yaml'), 'rules: [{ groups: [ops], verbs: [exec] }]\n');
  const settings = ['tokenAuthFile: tokens.csv', 'authorizationMode: Rules', 'authorizationRulesFile: rules.yaml'];
  await writeFile(join(cwd, 'execlet.yaml'), settings.join('\n'));
  const ask = async (...args: string[]): Promise<[exitCode: number, output: string]> => {
    const all = [join(CHECKOUT, 'src', 'main.ts'), 'doctor', '--config', 'execlet.yaml', '--as', ...args];
    const { exitCode, stdout, stderr } = await runCommand(process.execPath, all, { cwd });
    return [exitCode, `${stdout.toString()}${stderr}`];
  };
  assert.deepEqual(await ask('alice', 'exec', 'default/web'), [
    0,
    'note: the groups of alice are those of tokens.csv: ops\n' +
      'rules[0] applies: group "ops" matches "ops"\nallowed by rules[0]\n',
  ]);
  const [exitCode, output] = await ask('bob', 'exec', 'default/web', '-c', 'web');
  assert.equal(exitCode, 1);
  assert.match(
    output,
    /\ndenied: no rule applies\nnote: no groups of bob were given, and tokens\.csv has none: [^\n]+\n$/,
  );
  assert.deepEqual((await ask('bob', '--as-group', 'ops', 'exec', 'default/web')).at(0), 0);
  assert.doesNotMatch((await ask('bob', '--as-group', 'x', 'list')).join(''), /no groups/);
});

test('verbs and targets are the actions that they name', () => {
  const command = ['ls', '-l'];
  assert.deepEqual(actionOf({ verb: 'exec', target: 'team-a/web-1', command }), EXEC);
  assert.deepEqual(actionOf({ verb: 'exec', target: 'team-a/web-1', container: 'app', command }), {
    ...EXEC,
    container: 'app',
  });
  assert.deepEqual(actionOf({ verb: 'get', target: 'a/b' }), { kind: 'pods', verb: 'get', namespace: 'a', pod: 'b' });
  assert.deepEqual(actionOf({ verb: 'list' }), { kind: 'pods', verb: 'list' });
  assert.deepEqual(actionOf({ verb: 'list', target: 'a' }), { kind: 'pods', verb: 'list', namespace: 'a' });
  assert.deepEqual(actionOf({ verb: 'list-sessions' }), { kind: 'sessions', verb: 'list' });
  assert.deepEqual(actionOf({ verb: 'end-sessions' }), { kind: 'sessions', verb: 'delete' });
  assert.deepEqual(actionOf({ verb: 'metrics' }), { kind: 'metrics' });
});

test('a target that does not go with its verb is a usage error', () => {
  const wrong: [Parameters<typeof actionOf>[0], RegExp][] = [
    [{ verb: 'create' }, /^"create" is none of exec, /],
    [{ verb: 'exec' }, /^exec needs NAMESPACE\/POD$/],
    [{ verb: 'exec', target: 'web' }, /^exec needs/],
    [{ verb: 'get', target: 'a/' }, /^get needs/],
    [{ verb: 'get', target: 'a/b/c' }, /^get needs/],
    [{ verb: 'list', target: 'a/b' }, /^list takes a NAMESPACE/],
    [{ verb: 'list', target: '' }, /^list takes/],
    [{ verb: 'metrics', target: 'a' }, /^metrics is for the whole node/],
    [{ verb: 'get', target: 'a/b', container: 'c' }, /^--container is for exec only$/],
    [{ verb: 'get', target: 'a/b', command: ['ls'] }, /^a command is for exec only$/],
  ];
  for (const [asked, message] of wrong) assert.throws(() => actionOf(asked), { exitCode: 2, message });
});

test('the command takes the settings of serve, and a command behind -- with its own flags', async () => {
  const run = async (...args: string[]): Promise<{ exitCode: number; stdout: string; stderr: string }> => {
    const script = `
      import { doctorCommand } from './src/commands/doctor.ts';
      await doctorCommand().parseAsync(process.argv.slice(1), { from: 'user' });`;
    const node = ['--input-type=module', '--eval', script, '--', ...args];
    const result = await runCommand(process.execPath, node, { cwd: CHECKOUT });
    return { ...result, stdout: result.stdout.toString() };
  };
  const right = ['--port', '1', '--as', 'alice', '--as-group', 'a', '--as-group', 'b', 'exec', 'a/b', '-c', 'c', '--'];
  const { exitCode, stdout, stderr } = await run(...right, 'ls', '--as', 'x');
  assert.deepEqual([exitCode, stderr], [0, '']);
  assert.match(stdout, /^no authorization mode is set: [^\n]+\nallowed: [^\n]+\n$/);
  const wrong = await run('--as', 'alice', 'exec', 'b');
  assert.deepEqual(wrong, { exitCode: 2, stdout: '', stderr: 'execlet: exec needs NAMESPACE/POD\n' });
  // Without a word of the daemon's settings it would speak of another daemon than the one that was meant.
  const bare = await run('--as', 'alice', 'exec', 'a/b');
  assert.deepEqual([bare.exitCode, bare.stdout], [2, '']);
  assert.match(bare.stderr, /^execlet: doctor needs the daemon's settings: --config FILE, or its flags\n$/);
  const nobody = await run('--port', '1', 'exec', 'a/b');
  assert.deepEqual(nobody, { exitCode: 2, stdout: '', stderr: 'execlet: exec needs --as USER\n' });
});

test('without a verb the command is about the node, and takes no caller', async () => {
  const run = (...args: string[]) =>
    runCommand(process.execPath, ['src/main.ts', 'doctor', ...args], { cwd: CHECKOUT });
  const { exitCode, stdout } = await run('--docker-endpoint', 'unix:///nowhere.sock');
  assert.equal(exitCode, 1);
  assert.match(stdout.toString(), /^problem: there is no socket \/nowhere\.sock: [^\n]+\nnot checked: /);
  const json = await run('--docker-endpoint', 'unix:///nowhere.sock', '-o', 'json');
  assert.equal(json.exitCode, 1);
  const [first] = JSON.parse(json.stdout.toString()) as unknown[];
  assert.deepEqual(Object.keys(first ?? {}), ['check', 'result', 'text']);
  const asked = await run('-o', 'json', '--port', '1', '--as', 'alice', 'list');
  assert.deepEqual([asked.exitCode, asked.stderr], [2, 'execlet: --output json is for the checks, without list\n']);
  const caller = await run('--as', 'alice');
  assert.equal(caller.exitCode, 2);
  assert.match(caller.stderr, /^execlet: --as, --as-group and --container need one of exec, /);
});
