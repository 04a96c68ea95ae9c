import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { after, test, type TestContext } from 'node:test';
import { CHECKOUT } from '../support/checkout.ts';
import { runCommand } from '../support/command.ts';
import { kubernetesLabels } from '../support/containers.ts';
import { Daemon, type LogLine } from '../support/daemon.ts';
import { Echo, holdExec, type HeldExec } from '../support/held-exec.ts';
import { LEFT_BEHIND, newMark, SETSID, untilAsleep, untilMarked } from '../support/left-behind.ts';
import { isRunning, killProcesses, untilGone } from '../support/processes.ts';
import { rawExec, TRANSPORTS } from '../support/raw-exec.ts';
import { serveWeb } from '../support/served.ts';

// What stays in a real container when its clients are gone.

const GRACE = ['--kill-grace-period', '300ms', '--log-level', 'debug'];
const PODS = ['web', 'other-user'] as const;
const KINDS = TRANSPORTS.flatMap(transport => [true, false].map(tty => ({ transport, tty })));

/** The other execs of the containers. */
const echoes = new Map<string, Echo>();
after(() => echoes.forEach(echo => echo.stop()));

const served = serveWeb({
  args: GRACE,
  beforeDaemon: async engine => {
    const labels = kubernetesLabels({ namespace: 'default', pod: 'other-user', container: 'app' });
    await engine.createContainer({ labels, create: { User: '1000' } });
  },
  afterDaemon: async ({ port }) => {
    for (const pod of PODS) echoes.set(pod, await Echo.start({ port, pod }));
  },
});

/** The lines of terminated commands, as soon as there are so many. */
async function terminated(daemon: Daemon, count: number): Promise<LogLine[]> {
  const lines = (): LogLine[] => daemon.log.filter(({ message }) => message === 'command terminated');
  await daemon.waitForLog(() => lines().length >= count, 30_000);
  return lines();
}

/** Has one more command terminated, at a terminal, and answers how many have been since there were so many. */
async function terminatedSince(before: number): Promise<number> {
  const { daemon } = served;
  const mark = newMark();
  const client = await holdExec('spdy', { port: daemon.port, command: ['sleep', mark], tty: true });
  await untilMarked(mark, 1);
  client.reset();
  const since = async (): Promise<LogLine[]> => (await terminated(daemon, 0)).slice(before);
  for (let count = 1; !(await since()).some(({ signals }) => String(signals) === 'SIGHUP'); count += 1) {
    await terminated(daemon, before + count);
  }
  return (await since()).length;
}

for (const pod of PODS) {
  for (const { what, command, sleeps } of [...LEFT_BEHIND, SETSID]) {
    test(`${pod}: ${what}, and its client is gone: nothing of it is left but what has called setsid`, async () => {
      const { daemon } = served;
      const before = (await terminated(daemon, 0)).length;
      const logged = daemon.log.length;
      const stays = command === SETSID.command ? SETSID.stays : 0;
      const marks = KINDS.map(() => newMark());
      await Promise.all(
        KINDS.map(async ({ transport, tty }, index) => {
          const mark = marks[index] ?? '';
          const client = await holdExec(transport, { port: daemon.port, pod, command: command(mark), tty });
          await untilAsleep(mark, sleeps);
          client.reset();
        }),
      );
      const lines = (await terminated(daemon, before + KINDS.length)).slice(before);
      for (const mark of marks) await killProcesses(await untilMarked(mark, stays));
      const took = lines.map(({ signals }) => String(signals)).sort();
      const stubborn = what.includes('ignores');
      const onTerminal = stubborn ? 'SIGHUP,SIGTERM,SIGKILL' : 'SIGHUP';
      const without = stubborn ? 'SIGTERM,SIGKILL' : 'SIGTERM';
      assert.deepEqual(took, [onTerminal, onTerminal, without, without].sort());
      const left = daemon.log.slice(logged).filter(({ message }) => message === 'processes are left in a container');
      assert.deepEqual(
        left.map(({ cause, count }) => ({ cause, count })),
        stays === 0 ? [] : KINDS.map(() => ({ cause: 'new_session', count: stays })),
      );
      await echoes.get(pod)?.check();
    });
  }
}

test('after an exit nothing is signalled: what a command has left in the background stays', async () => {
  const { daemon } = served;
  const stays = newMark();
  const before = (await terminated(daemon, 0)).length;
  const command = ['sh', '-c', `sleep ${stays} </dev/null >/dev/null 2>&1 & echo hi`];
  for (const transport of TRANSPORTS) {
    const { stdout } = await rawExec(transport, { port: daemon.port, command });
    assert.equal(stdout.toString(), 'hi\n');
  }
  assert.equal(await terminatedSince(before), 1);
  await killProcesses(await untilMarked(stays, 2));
});

test('keep signals nothing; a command that reads its input sees the end of it', async context => {
  const daemon = await Daemon.start({ engine: served.engine, args: [...GRACE, '--on-disconnect', 'keep'] });
  context.after(() => daemon.stop());
  for (const { transport, tty } of KINDS) {
    const [mark, read] = [newMark(), newMark()];
    const client = await holdExec(transport, { port: daemon.port, command: ['sleep', mark], tty });
    const reader = await holdExec(transport, {
      port: daemon.port,
      command: ['sh', '-c', `cat; : ${read}`],
      tty: false,
    });
    const [sleep] = await untilMarked(mark, 1);
    const [cat] = await untilMarked(read, 1);
    assert.ok(sleep !== undefined && cat !== undefined);
    const ended = daemon.sessionsEnded().length;
    client.reset();
    reader.reset();
    await daemon.waitForSessionsEnded(ended + 2);
    await untilGone(cat);
    assert.ok(await isRunning(sleep));
    await killProcesses([sleep]);
  }
  const signalled = daemon.log.filter(({ message }) => /^(process signalled|command terminated)$/.test(message));
  assert.deepEqual(signalled, []);
});

test('from a remote Engine nothing is signalled: a terminal gets ^C and ^D, and what outlives them is counted', async context => {
  const daemon = await remoteDaemon(context);
  const [sleep, shell, busyShell, deaf] = [newMark(), newMark(), newMark(), newMark()];
  const hold = (...command: string[]): Promise<HeldExec> => holdExec('spdy', { port: daemon.port, command, tty: true });
  const clients = await Promise.all([
    hold('sleep', sleep),
    hold('sh', '-i', '-s', shell),
    hold('sh', '-i', '-s', busyShell),
    hold('sh', '-c', `trap '' INT; sleep ${deaf}; true`),
  ]);
  await clients[1].until('# ');
  await clients[2].until('# ');
  await clients[2].send(`sleep ${busyShell}\r`);
  await Promise.all([untilMarked(sleep, 1), untilMarked(busyShell, 2)]);
  const left = await untilMarked(deaf, 2);
  for (const client of clients) client.reset();
  const lines = await terminated(daemon, clients.length);
  for (const mark of [sleep, shell, busyShell]) await untilMarked(mark, 0);
  for (const process of left) assert.ok(await isRunning(process));
  await killProcesses(left);
  assert.deepEqual(
    lines.map(({ signals }) => signals),
    clients.map(() => []),
  );
  const counted = daemon.log.filter(({ message }) => message === 'processes are left in a container');
  assert.deepEqual(
    counted.map(({ level, cause, count }) => ({ level, cause, count })),
    [{ level: 'warn', cause: 'remote_engine', count: 1 }],
  );
});

test('doctor tells beforehand whether commands can be terminated', async () => {
  const doctor = ['src/main.ts', 'doctor', '--docker-endpoint', served.engine.dockerHost];
  const run = async (
    around: string[] = [],
    settings: string[] = [],
  ): Promise<{ exitCode: number; lines: string[] }> => {
    const [program = '', ...args] = [...around, process.execPath, ...doctor, ...settings];
    const { exitCode, stdout, stderr } = await runCommand(program, args, { cwd: CHECKOUT });
    assert.equal(stderr, '');
    return { exitCode, lines: stdout.toString().trimEnd().split('\n') };
  };
  const onHost = await run();
  assert.equal(onHost.exitCode, 0);
  assert.ok(onHost.lines.includes('ok: the processes of containers are seen here'));
  assert.ok(onHost.lines.includes('ok: processes of every user may be signalled'));

  const otherNamespace = await run(['unshare', '--pid', '--fork', '--mount-proc']);
  assert.equal(otherNamespace.exitCode, 1);
  assert.match(otherNamespace.lines.join('\n'), /^problem: process \d+ of container \S+ is not seen here: .*hostPID/m);

  const setpriv = ['setpriv', '--bounding-set', '-kill', '--inh-caps', '-kill'];
  const withoutKill = await run(setpriv);
  assert.equal(withoutKill.exitCode, 1);
  assert.match(withoutKill.lines.join('\n'), /^problem: process \d+ of container \S+ may not be signalled: .*KILL$/m);
  const wished = await run(setpriv, ['--on-disconnect', 'keep']);
  assert.equal(wished.exitCode, 0);
  assert.match(
    wished.lines.join('\n'),
    /^note: .* may not be signalled: .*; with --on-disconnect=keep nothing is to be ended$/m,
  );
});

/** A daemon that reaches the Engine over TCP, as it would one of another host. */
async function remoteDaemon(context: TestContext): Promise<Daemon> {
  const socketPath = new URL(served.engine.dockerHost).pathname;
  const proxy = createServer({ allowHalfOpen: true }, client => {
    const engine = connect({ path: socketPath, allowHalfOpen: true });
    for (const [from, to] of [
      [client, engine],
      [engine, client],
    ] as const) {
      from.on('error', () => to.destroy());
      from.pipe(to);
    }
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const { port } = proxy.address() as AddressInfo;
  const daemon = await Daemon.start({ engine: { dockerHost: `tcp://127.0.0.1:${port}` }, args: GRACE });
  context.after(async () => {
    await daemon.stop();
    proxy.close();
  });
  return daemon;
}
