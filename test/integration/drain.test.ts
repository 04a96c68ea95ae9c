import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { askApi } from '../support/api.ts';
import { kubernetesLabels, type TestContainer } from '../support/containers.ts';
import { Daemon } from '../support/daemon.ts';
import { startTestEngine } from '../support/engine.ts';
import { rawExec, TRANSPORTS, type Transport } from '../support/raw-exec.ts';
import { withoutSessionName } from '../support/session-name.ts';
import { WebSocketClient } from '../support/websocket-client.ts';

interface Served {
  readonly web: TestContainer;
  readonly daemon: Daemon;
}

async function serve(context: TestContext, ...args: string[]): Promise<Served> {
  const engine = await startTestEngine();
  context.after(() => engine.stop());
  const labels = kubernetesLabels({ namespace: 'default', pod: 'web', container: 'app' });
  const web = await engine.createContainer({ labels });
  const daemon = await Daemon.start({ engine, args });
  context.after(() => daemon.stop(null));
  return { web, daemon };
}

async function processesOf(container: TestContainer): Promise<number> {
  const { Processes: processes } = (await container.docker.top()) as { Processes: unknown[] };
  return processes.length;
}

interface Told {
  readonly message?: string;
  readonly details?: { readonly causes: readonly { readonly reason?: string; readonly message: string }[] };
}

/** Prints without a pause, until it is told to exit by a file. */
const flowing = (exitCode: number): readonly string[] => [
  'sh',
  '-c',
  `until [ -e /tmp/exit-${exitCode} ]; do echo ${'x'.repeat(5_000)}; sleep 0.2; done; exit ${exitCode}`,
];

test('under 50 sessions whose output flows: who ends in time keeps their code, the others are told', async context => {
  const { web, daemon } = await serve(context, '--drain-timeout', '15s');
  const exec = (transport: Transport, exitCode: number) =>
    rawExec(transport, { port: daemon.port, command: flowing(exitCode) });
  const inTime = Array.from({ length: 25 }, (_, index) => exec(TRANSPORTS[index % 2] ?? 'spdy', 40));
  const late = Array.from({ length: 25 }, (_, index) => exec(TRANSPORTS[index % 2] ?? 'spdy', 41));
  const terminal = await WebSocketClient.open({
    url: `ws://127.0.0.1:${daemon.port}/exec/default/web/app?command=cat&input=1&output=1&tty=1`,
    protocols: ['v5.channel.k8s.io'],
  });
  const started = async (): Promise<number> => {
    const { body } = await askApi(daemon, '/execlet/v1/sessions');
    return (body as { sessions: { state: string }[] }).sessions.filter(({ state }) => state === 'started').length;
  };
  while ((await started()) < 51) await delay(50);

  const stopped = daemon.stop(0);
  await daemon.waitForLog(({ message }) => message === 'waiting for sessions to end');
  await terminal.until(() => terminal.received(1).includes('this session ends in 15s'));
  assert.partialDeepStrictEqual(await askApi(daemon, '/readyz'), {
    status: 503,
    body: '[+]engine ok\n[+]registry ok\n[-]draining failed: the daemon is stopping\nreadyz check failed\n',
  });
  assert.equal((await askApi(daemon, '/livez')).status, 200);
  await assert.rejects(rawExec('spdy', { port: daemon.port, command: ['true'] }), /503/);
  await web.exec(['touch', '/tmp/exit-40']);

  for (const { status } of await Promise.all(inTime)) {
    const { details } = JSON.parse(status) as Told;
    assert.deepEqual(details?.causes, [{ reason: 'ExitCode', message: '40' }]);
  }
  for (const { status, stdout } of await Promise.all(late)) {
    const { message = '', details } = JSON.parse(status) as Told;
    assert.equal(withoutSessionName(message), 'Internal error occurred: execlet is stopping');
    assert.ok(details?.causes.some(cause => cause.reason === 'ExecletReason' && cause.message === 'drain'));
    assert.match(stdout.toString(), /^(x{5000}\n)+$/, 'whole lines: nothing was lost in the middle');
  }
  assert.equal(await stopped, 0);
  const reasons = daemon.sessionsEnded().map(({ reason, exitCode }) => `${reason} ${exitCode ?? ''}`);
  const count = (wanted: string): number => reasons.filter(reason => reason === wanted).length;
  assert.deepEqual([count('exit 40'), count('drain ')], [25, 26]);
});

test('the daemon is there until what it ends is gone: also a command that ignores the signals it may ignore', async context => {
  const { web, daemon } = await serve(context, '--drain-timeout', '100ms', '--kill-grace-period', '700ms');
  const before = await processesOf(web);
  const stubborn = "trap '' TERM HUP; echo up; while :; do sleep 1; done";
  const sessions = TRANSPORTS.map(transport =>
    rawExec(transport, { port: daemon.port, command: ['sh', '-c', stubborn], tty: transport === 'spdy' }),
  );
  while ((await processesOf(web)) < before + 2 * sessions.length) await delay(50);
  assert.equal(await daemon.stop(0), 0);
  assert.equal(await processesOf(web), before);
  for (const { status } of await Promise.all(sessions)) assert.match(status, /"drain"/);
  assert.equal(daemon.log.filter(({ message }) => message === 'command terminated').length, sessions.length);
});

test('a daemon without sessions stops at once, however long it may wait', async context => {
  const { daemon } = await serve(context, '--drain-timeout', '1h');
  assert.equal(await daemon.stop(0), 0);
});

test('a second signal ends it at once, with exit code 1', async context => {
  const { daemon } = await serve(context, '--drain-timeout', '1h');
  const exec = rawExec('websocket', { port: daemon.port, command: ['sleep', '1000'] });
  await daemon.waitForLog(({ message }) => message === 'session started');
  process.kill(daemon.pid, 'SIGTERM');
  await daemon.waitForLog(({ message }) => message === 'waiting for sessions to end');
  process.kill(daemon.pid, 'SIGTERM');
  assert.equal(await daemon.exited, 1);
  assert.equal((await exec).complete, false);
});
