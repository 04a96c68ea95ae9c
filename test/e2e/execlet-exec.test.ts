import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { CHECKOUT } from '../support/checkout.ts';
import { runCommand, type CommandResult } from '../support/command.ts';
import { Daemon } from '../support/daemon.ts';
import { Terminal } from '../support/pty.ts';
import { serveWeb } from '../support/served.ts';

const served = serveWeb();

function commandLine(...args: readonly string[]): [string, ...string[]] {
  const [command = '', ...rest] = args;
  return [process.execPath, join(CHECKOUT, 'src/main.ts'), command, '--server', served.daemon.url, ...rest];
}

async function execlet(args: readonly string[], stdin?: string | Buffer): Promise<CommandResult> {
  const [file, ...argv] = commandLine(...args);
  return runCommand(file, argv, stdin === undefined ? {} : { stdin });
}

test('output, error output and exit code', async () => {
  const { stdout, stderr, exitCode } = await execlet([
    'exec',
    'web',
    '--',
    'sh',
    '-c',
    'echo out; echo err >&2; exit 42',
  ]);
  assert.deepEqual([stdout.toString(), exitCode], ['out\n', 42]);
  assert.match(stderr, /^err\ncommand terminated with exit code 42\n$/);
  assert.deepEqual(
    served.daemon.sessionsEnded().map(({ transport, protocol }) => `${transport} ${protocol}`),
    ['websocket v5.channel.k8s.io'],
  );
});

test('input comes back byte for byte and ends by itself', async () => {
  const stdin = randomBytes(10_000_000);
  const { stdout, exitCode } = await execlet(['exec', '-i', 'web', '--', 'cat'], stdin);
  assert.equal(exitCode, 0);
  const hash = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
  assert.equal(hash(stdout), hash(stdin));
});

test('a pod, a container or a command that does not exist is one line that says so, and exit code 1', async () => {
  for (const [args, message] of [
    [['exec', 'nobody', '--', 'true'], /pod does not exist/],
    [['exec', '-c', 'nobody', 'web', '--', 'true'], /container not found \("nobody"\)/],
    [['exec', 'web', '--', 'no-such-command'], /no-such-command.*not found/],
  ] as const) {
    const { exitCode, stdout, stderr } = await execlet(args);
    assert.deepEqual([exitCode, stdout.toString()], [1, ''], stderr);
    assert.match(stderr, message);
    assert.equal(stderr.trimEnd().split('\n').length, 1, stderr);
  }
});

test('a terminal has the size of ours, follows it, and is as before afterwards', async context => {
  // The shell outlives execlet in this terminal, so that its modes can be compared.
  const shell = await openShell(context, { columns: 111, rows: 44 });
  const before = await shell.modes();
  const line = commandLine('exec', '-it', 'web', '--', 'sh', '-c', 'PS1="re""mote> " exec sh').map(quote).join(' ');
  shell.type(`${line}\r`);
  await shell.expect(/remote> /);
  assert.notEqual(await shell.modes(), before);
  shell.type('until [ "$(stty size)" = "44 111" ]; do sleep 0.1; done; echo is; stty size\r');
  await shell.expect(/is\r\n44 111\r\n/);
  await shell.resize({ columns: 77, rows: 22 });
  shell.type('until [ "$(stty size)" = "22 77" ]; do sleep 0.1; done; echo now; stty size\r');
  await shell.expect(/now\r\n22 77\r\n/);
  shell.type('exit 9\r');
  await shell.expect(/local> /);
  assert.equal(await shell.modes(), before);
  shell.type('echo "code=$?"; exit\r');
  await shell.expect(/code=9\r\n/);
  await shell.exited;
});

test('the terminal is as before when the daemon goes in the middle', async context => {
  const doomed = await Daemon.start({ engine: served.engine });
  const shell = await openShell(context, { columns: 80, rows: 24 });
  const before = await shell.modes();
  const args = ['exec', '--server', doomed.url, '-it', 'web', '--', 'sh', '-c', 'PS1="re""mote> " exec sh'];
  shell.type(`${[process.execPath, join(CHECKOUT, 'src/main.ts'), ...args].map(quote).join(' ')}\r`);
  await shell.expect(/remote> /);
  await doomed.kill();
  await shell.expect(/local> /);
  assert.equal(await shell.modes(), before);
  shell.type('echo "code=$?"; exit\r');
  await shell.expect(/code=1\r\n/);
  await shell.exited;
});

test('execlet pods lists what the node serves, as a table and as JSON', async () => {
  const table = await execlet(['pods']);
  assert.match(
    table.stdout.toString(),
    /^NAMESPACE +POD +CONTAINERS +READY +STATUS +RESTARTS +AGE\ndefault +web +app +1\/1 +Running/,
  );
  const { items } = JSON.parse((await execlet(['pods', '-o', 'json'])).stdout.toString()) as {
    items: { metadata: { name: string } }[];
  };
  assert.deepEqual(
    items.map(({ metadata }) => metadata.name),
    ['web'],
  );
});

test('a daemon that is not there is one line that tells what to do', async () => {
  const args = ['exec', '--server', 'http://127.0.0.1:1', 'web', '--', 'true'];
  const { exitCode, stderr } = await runCommand(process.execPath, [join(CHECKOUT, 'src/main.ts'), ...args]);
  assert.equal(exitCode, 1);
  assert.match(stderr, /execlet serve/);
});

/** Closed with the test, also with one that failed. */
async function openShell(context: TestContext, size: { columns: number; rows: number }): Promise<Terminal> {
  const shell = await Terminal.open(['sh'], { ...size, env: { ...process.env, PS1: 'local> ' } });
  context.after(() => shell.close());
  await shell.expect(/local> /);
  return shell;
}

function quote(argument: string): string {
  return `'${argument.replaceAll("'", "'\\''")}'`;
}
