import assert from 'node:assert/strict';
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'node:test';
import { CHECKOUT } from '../../support/checkout.ts';
import { runCommand, type CommandResult } from '../../support/command.ts';
import { ExecServer, exitStatus, onChannel, SUCCESS, type Play } from '../../support/exec-server.ts';

const MAIN = join(CHECKOUT, 'src', 'main.ts');
const env = { ...process.env, KUBECONFIG: '' };

const argumentsOf = (server: ExecServer, ...args: readonly string[]): string[] => [
  MAIN,
  'exec',
  '--server',
  server.url.origin,
  ...args,
];

/** `execlet exec` as a process, with a stdin that stays open. */
function start(server: ExecServer, ...args: readonly string[]): ChildProcessWithoutNullStreams {
  return spawn(process.execPath, argumentsOf(server, ...args), { env });
}

async function runWith(args: readonly string[]): Promise<CommandResult> {
  return runCommand(process.execPath, [MAIN, 'exec', ...args], { env });
}

const play =
  (...messages: readonly Buffer[]): Play =>
  socket => {
    for (const message of messages) socket.send(message);
    socket.close(1000);
  };

test("the command's exit code is the process's, and stderr says so as kubectl does", async () => {
  const urls: (string | undefined)[] = [];
  await using server = await ExecServer.start((socket, request) => {
    urls.push(request.url);
    play(onChannel(1, 'out'), onChannel(2, 'err\n'), onChannel(3, exitStatus(42)))(socket, request);
  });
  const result = await runWith([
    '--server',
    server.url.origin,
    'pods/web',
    '-n',
    'ns',
    '-c',
    'one',
    '--',
    'sh',
    '-c',
    'x --',
    '--',
    '-n',
  ]);
  assert.deepEqual(
    { ...result, stdout: result.stdout.toString() },
    { exitCode: 42, stdout: 'out', stderr: 'err\ncommand terminated with exit code 42\n' },
  );
  assert.deepEqual(urls, [
    '/api/v1/namespaces/ns/pods/web/exec?command=sh&command=-c&command=x+--&command=--&command=-n&container=one&stdout=true&stderr=true',
  ]);
});

test('a stdin that stays open does not keep the process', async () => {
  await using server = await ExecServer.start(play(onChannel(1, 'done'), onChannel(3, SUCCESS)));
  const child = start(server, '-i', 'web', '--', 'true');
  const output = text(child.stdout);
  assert.deepEqual(await once(child, 'close'), [0, null]);
  assert.equal(await output, 'done');
});

test('all output gets into a slow pipe before the process ends', async () => {
  const piece = Buffer.alloc(64 * 1024, 'x');
  const pieces = 64;
  const messages = [...Array.from({ length: pieces }, () => onChannel(1, piece)), onChannel(3, exitStatus(5))];
  await using server = await ExecServer.start(play(...messages));
  const child = start(server, 'web', '--', 'yes');
  const exited = once(child, 'exit');
  let received = 0;
  for await (const chunk of child.stdout) {
    if (Buffer.isBuffer(chunk)) received += chunk.length;
    await delay(1); // the pipe holds 64 KiB: the process would have to wait a hundred times and more
  }
  assert.equal(received, pieces * piece.length);
  assert.deepEqual(await exited, [5, null]);
});

test('a reader that goes away ends the process without a word, as SIGPIPE would', async () => {
  await using server = await ExecServer.start(socket => {
    const more = (): void => socket.send(onChannel(1, 'y\n'.repeat(1000)), error => (error ? undefined : more()));
    more();
  });
  const child = start(server, 'web', '--', 'yes');
  const stderr = text(child.stderr);
  await once(child.stdout, 'data');
  child.stdout.destroy();
  assert.deepEqual(await once(child, 'exit'), [141, null]);
  assert.equal(await stderr, '');
});

const USAGE: [title: string, args: string[], stderr: RegExp][] = [
  ['no pod', [], /^execlet: missing required argument 'pod'\n$/],
  ['no command', ['web', '--'], /^execlet: missing required argument 'command'\n$/],
  ['no --', ['web', 'sh', '-c', 'exit 3'], /^execlet: -- is missing between the pod and the command\n$/],
  ['an unknown flag', ['--nope', 'web', '--', 'ls'], /^execlet: unknown option '--nope'\n$/],
  ['another kind of object', ['deploy/web', '--', 'ls'], /^execlet: "deploy\/web" is not a pod: NAME or pod\/NAME\n$/],
  [
    'a missing kubeconfig',
    ['--kubeconfig', '/nonexistent', 'web', '--', 'ls'],
    /^execlet: kubeconfig: ENOENT[^\n]*\n$/,
  ],
];
for (const [title, args, stderr] of USAGE) {
  test(`${title}: one line, exit code 2`, async () => {
    const result = await runWith(args);
    assert.match(result.stderr, stderr);
    assert.equal(result.exitCode, 2);
  });
}

test('a refusal is one line, exit code 1', async () => {
  await using server = await ExecServer.refusing(
    'HTTP/1.1 404 Not Found\r\nContent-Length: 18\r\n\r\npod does not exist',
  );
  const result = await runWith(['--server', server.url.origin, 'web', '--', 'ls']);
  assert.deepEqual([result.exitCode, result.stderr], [1, 'execlet: pod does not exist\n']);
});

test('-t without a terminal says so and goes on without', async () => {
  const urls: (string | undefined)[] = [];
  await using server = await ExecServer.start((socket, request) => {
    urls.push(request.url);
    play(onChannel(3, SUCCESS))(socket, request);
  });
  const result = await runWith(['--server', server.url.origin, '-it', 'web', '--', 'ls']);
  assert.equal(result.exitCode, 0);
  assert.match(result.stderr, /^Unable to use a TTY - input is not a terminal/);
  assert.match(urls[0] ?? '', /stdin=true&stdout=true&stderr=true$/);
});
