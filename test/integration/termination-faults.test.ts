import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { test, type TestContext } from 'node:test';
import { aborted } from '../../src/within.ts';
import { Daemon } from '../support/daemon.ts';
import { holdExec } from '../support/held-exec.ts';
import { isRunning, readProcess } from '../support/processes.ts';
import { execPath } from '../support/raw-exec.ts';
import { StandInEngine, stdcopyFrame, type ExecInspection, type StandInOptions } from '../support/stand-in-engine.ts';
import { WebSocketClient } from '../support/websocket-client.ts';

// Clients that go, and an Engine that does what a real one cannot be made to do.

/** A pid that no process here has: the kernel's largest is 4 194 304. */
const NOBODY = 99_999_999;

interface Around {
  readonly engine: StandInEngine;
  readonly daemon: Daemon;
}

async function serve(context: TestContext, options: StandInOptions): Promise<Around> {
  const engine = await StandInEngine.start(options);
  const args = ['--kill-grace-period', '100ms', '--engine-timeout', '2s', '--log-level', 'debug'];
  const daemon = await Daemon.start({ engine, args });
  context.after(async () => {
    await daemon.stop();
    await engine.stop();
  });
  return { engine, daemon };
}

const running = (pid: number) => (): ExecInspection => ({ Running: true, ExitCode: null, Pid: pid });

/** What was logged of processes that are left, once the command's termination is over. */
async function leftBy(daemon: Daemon): Promise<unknown[]> {
  const { signals } = await daemon.waitForLog(({ message }) => message === 'command terminated');
  assert.deepEqual(signals, []);
  return daemon.log
    .filter(({ message }) => message === 'processes are left in a container')
    .map(({ cause, count }) => [cause, count]);
}

/** All that comes from the daemon until it closes the connection. */
async function all(connection: Duplex): Promise<string> {
  let received = '';
  connection.on('data', (chunk: Buffer) => (received += chunk.toString()));
  await Promise.race([once(connection, 'end'), once(connection, 'close')]);
  connection.end();
  return received;
}

test('a pid of the Engine that is here that of an innocent process is not signalled', async context => {
  const innocent = spawn('sleep', ['1000']);
  context.after(() => innocent.kill('SIGKILL'));
  await once(innocent, 'spawn');
  const process = await readProcess(innocent.pid ?? 0);
  assert.ok(process !== undefined);
  for (const tty of [false, true]) {
    const typed = Promise.withResolvers<string>();
    const { daemon } = await serve(context, {
      play: connection => {
        typed.resolve(all(connection));
        connection.write(tty ? 'up' : stdcopyFrame(1, 'up'));
      },
      inspect: running(process.pid),
    });
    const client = await holdExec('websocket', { port: daemon.port, command: ['x'], tty });
    await client.until('up');
    client.reset();
    assert.deepEqual(await leftBy(daemon), [['no_host_pid', 1]]);
    assert.equal(await typed.promise, tty ? '\x03\x04' : '');
    assert.ok(await isRunning(process));
  }
});

test('where the Engine does not say what runs, that is counted as unknown', async context => {
  const { daemon } = await serve(context, {
    play: connection => {
      connection.on('end', () => connection.end());
      connection.resume().write('up');
    },
    inspect: () => Promise.withResolvers<ExecInspection>().promise, // none ever
  });
  const client = await holdExec('spdy', { port: daemon.port, command: ['x'], tty: true });
  await client.until('up');
  client.reset();
  assert.deepEqual(await leftBy(daemon), [['unknown', 1]]);
});

test('a command whose container has ended is not looked for: it has gone with it', async context => {
  const { engine, daemon } = await serve(context, {
    play: connection => void connection.resume().write(stdcopyFrame(1, 'up')),
    inspect: running(NOBODY),
  });
  const client = await holdExec('spdy', { port: daemon.port, command: ['x'], tty: false });
  await client.until('up');
  engine.sendDie();
  const [session] = await daemon.waitForSessionsEnded(1);
  assert.equal(session?.reason, 'container_gone');
  await fetch(`${daemon.url}/livez`); // what was asked before has been heard by then
  assert.deepEqual(
    engine.calls.filter(({ path }) => /\/exec\/\w+\/json$/.test(path)),
    [],
  );
});

test('a command whose start is answered when its client has gone is terminated as any other', async context => {
  for (const tty of [false, true]) {
    const gone = new AbortController();
    const asked = Promise.withResolvers<undefined>();
    const typed = Promise.withResolvers<string>();
    const { daemon } = await serve(context, {
      holdStart: () => {
        asked.resolve(undefined);
        return aborted(gone.signal);
      },
      play: connection => typed.resolve(all(connection)),
      inspect: running(NOBODY),
    });
    const path = execPath({ command: ['x'], tty, input: true });
    const client = await WebSocketClient.open({
      url: `ws://127.0.0.1:${daemon.port}${path}`,
      protocols: ['v5.channel.k8s.io'],
    });
    await asked.promise;
    client.reset();
    await daemon.waitForSessionsEnded(1);
    gone.abort();
    assert.deepEqual(await leftBy(daemon), [['no_host_pid', 1]]);
    assert.equal(await typed.promise, tty ? '\x03\x04' : '');
  }
});

test('an exec whose client has gone while it was created is not started', async context => {
  const gone = new AbortController();
  const asked = Promise.withResolvers<undefined>();
  const { engine, daemon } = await serve(context, {
    holdCreate: () => {
      asked.resolve(undefined);
      return aborted(gone.signal);
    },
    play: connection => connection.end(),
    inspect: running(NOBODY),
  });
  const path = execPath({ command: ['x'], tty: false, input: true });
  const client = await WebSocketClient.open({
    url: `ws://127.0.0.1:${daemon.port}${path}`,
    protocols: ['v5.channel.k8s.io'],
  });
  await asked.promise;
  client.reset();
  await daemon.waitForSessionsEnded(1);
  gone.abort();
  await daemon.waitForLog(({ message }) => message === 'an exec is left in the Engine');
  assert.deepEqual(
    engine.calls.filter(({ path: call }) => call.endsWith('/start')),
    [],
  );
  assert.ok(!daemon.log.some(({ message }) => message === 'command terminated'));
});
