import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test, type TestContext } from 'node:test';
import { CHECKOUT } from '../support/checkout.ts';
import { runCommand } from '../support/command.ts';
import { Daemon } from '../support/daemon.ts';
import { StandInEngine } from '../support/stand-in-engine.ts';
import { WebSocketClient } from '../support/websocket-client.ts';

const MAIN = join(CHECKOUT, 'src', 'main.ts');

interface Listed {
  readonly id: string;
  readonly state: string;
  readonly reason?: string;
}

/** A daemon whose commands run until their session is ended. */
async function serve(context: TestContext) {
  const engine = await StandInEngine.start({ play: () => undefined });
  const daemon = await Daemon.start({ engine });
  context.after(async () => {
    await daemon.stop(null);
    await engine.stop();
  });
  const connection = ['--server', daemon.url, '--kubeconfig', '/dev/null'];
  return {
    daemon,
    connection,
    open: () =>
      WebSocketClient.open({
        url: `ws://127.0.0.1:${daemon.port}/exec/default/web/app?command=top&command=-b&output=1`,
        protocols: ['v5.channel.k8s.io'],
      }),
    sessions: async (...args: string[]) => {
      const { exitCode, stdout, stderr } = await runCommand(process.execPath, [
        MAIN,
        'sessions',
        ...args,
        ...connection,
      ]);
      return { exitCode, stdout: stdout.toString(), stderr };
    },
  };
}

test('execlet sessions lists what runs, and ends it by the beginning of its id', async context => {
  const { daemon, open, sessions } = await serve(context);
  assert.deepEqual(await sessions(), { exitCode: 0, stdout: '', stderr: 'No sessions\n' });
  const client = await open();
  await daemon.waitForLog(({ message }) => message === 'session started');
  const { stdout } = await sessions();
  const [headings = '', line = '', ...rest] = stdout.split('\n');
  assert.deepEqual(headings.split(/ {2,}/), [
    ...['ID', 'STATE', 'USER', 'NAMESPACE', 'POD', 'CONTAINER', 'PROGRAM', 'AGE', 'IDLE', 'END'],
  ]);
  const [shortId = '', ...cells] = line.split(/ {2,}/);
  assert.deepEqual(cells.slice(0, 6), ['started', 'system:anonymous', 'default', 'web', 'app', 'top']);
  assert.deepEqual(rest, ['']);
  const listed = JSON.parse((await sessions('list', '-o', 'json')).stdout) as { sessions: Listed[] };
  const id = listed.sessions[0]?.id ?? '';
  assert.ok(id.startsWith(shortId) && shortId.length === 8);
  assert.equal((await sessions('-o', 'name')).stdout, `${id}\n`);

  assert.deepEqual(await sessions('end', shortId), { exitCode: 0, stdout: `session ${id} ended\n`, stderr: '' });
  await client.closed;
  await daemon.waitForSessionsEnded(1);
  assert.deepEqual(await sessions('end', id), {
    exitCode: 1,
    stdout: '',
    stderr: `execlet: session ${id} has already ended: admin\n`,
  });
  assert.deepEqual(await sessions('end', 'nothing', 'none'), {
    exitCode: 1,
    stdout: '',
    stderr: 'execlet: session none not found\nexeclet: session nothing not found\n',
  });
  assert.equal((await sessions()).stderr, 'No sessions\n');
  assert.match((await sessions('--all')).stdout, new RegExp(`\\n${shortId} +ended .* admin\\n$`));
});

test('execlet sessions --watch follows sessions from their beginning to their end', async context => {
  const { connection, open } = await serve(context);
  const watching = spawn(process.execPath, [MAIN, 'sessions', '-w', '-o', 'json', ...connection], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  context.after(() => watching.kill());
  const lines = createInterface({ input: watching.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<Listed> => JSON.parse(String((await lines.next()).value)) as Listed;
  const client = await open();
  const begun = await next();
  assert.notEqual(begun.state, 'ended');
  client.reset();
  let ended = await next();
  while (ended.state !== 'ended') ended = await next();
  assert.deepEqual([ended.id, ended.reason], [begun.id, 'client_gone']);
  watching.kill('SIGINT');
  const [, signal] = (await once(watching, 'exit')) as [number | null, string | null];
  assert.equal(signal, 'SIGINT');
});
