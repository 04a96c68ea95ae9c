import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { Daemon } from '../support/daemon.ts';
import { StandInEngine, stdcopyFrame, type StandInOptions } from '../support/stand-in-engine.ts';

// What comes after a command's exit, from an Engine that does what a real one cannot be made to do.

const FRAME = stdcopyFrame(1, Buffer.alloc(32_768, 'x'));
/** A pid that no process here has: the kernel's largest is 4 194 304. */
const PID = 99_999_999;
const RUNNING = (): { Running: boolean; ExitCode: null; Pid: number } => ({ Running: true, ExitCode: null, Pid: PID });

interface Client {
  readonly socket: WebSocket;
  bytes: number;
  status: string;
  readonly closed: Promise<unknown>;
}

async function serve(
  context: TestContext,
  options: StandInOptions,
  args: readonly string[] = [],
): Promise<{ client: Client; daemon: Daemon }> {
  const engine = await StandInEngine.start(options);
  const daemon = await Daemon.start({ engine, args: ['--engine-timeout', '1s', ...args] });
  context.after(async () => {
    await daemon.stop();
    await engine.stop();
  });
  const path = '/exec/default/web/app?command=x&output=1';
  const socket = new WebSocket(`ws://127.0.0.1:${daemon.port}${path}`, ['v4.channel.k8s.io']);
  const client: Client = { socket, bytes: 0, status: '', closed: once(socket, 'close') };
  socket.on('message', (message: Buffer) => {
    if (message[0] === 1) client.bytes += message.length - 1;
    else client.status += message.toString('utf8', 1);
  });
  await once(socket, 'open');
  return { client, daemon };
}

/** Writes frames until the connection takes no more for 300 ms: everything on the way to the client is full. */
async function fill(connection: Duplex): Promise<void> {
  for (;;) {
    if (connection.write(FRAME)) continue;
    const drained = await Promise.race([once(connection, 'drain').then(() => true), delay(300, false)]);
    if (!drained) return;
  }
}

test('children in the background that are silent: the session ends 2 s after the last byte, with all that came', async context => {
  const { client } = await serve(
    context,
    {
      play: (connection, engine) => {
        connection.write(stdcopyFrame(1, 'out'));
        engine.sendExit(3);
        setTimeout(() => connection.write(stdcopyFrame(1, 'late')), 300);
      },
    },
    ['--output-drain-quiet', '600ms'],
  );
  await client.closed;
  assert.equal(client.bytes, 'outlate'.length);
  assert.match(client.status, /"reason":"ExitCode","message":"3"/);
});

test('children in the background that never stop: the session ends at the limit, with all that came', async context => {
  let sent = 0;
  const { client } = await serve(
    context,
    {
      play: (connection, engine) => {
        engine.sendExit(3);
        const timer = setInterval(() => {
          connection.write(stdcopyFrame(1, 'tick'));
          sent += 4;
        }, 50);
        connection.on('close', () => clearInterval(timer));
      },
    },
    ['--output-drain-quiet', '500ms', '--output-drain-limit', '1500ms'],
  );
  await client.closed;
  assert.match(client.status, /"reason":"ExitCode","message":"3"/);
  assert.ok(client.bytes > 4 && sent - client.bytes <= 2 * 4, `${client.bytes} of ${sent} bytes`);
});

test('more than 4 MiB left for a client that does not read is a failure that says so, never silence', async context => {
  const { client, daemon } = await serve(context, {
    play: (connection, engine) => {
      void fill(connection).then(() => {
        engine.sendExit(0);
        connection.write(Buffer.concat(Array.from({ length: 200 }, () => FRAME))); // 6.5 MB
      });
    },
    inspect: RUNNING,
    top: () => [PID],
  });
  client.socket.pause();
  const [ended] = await daemon.waitForSessionsEnded(1);
  assert.equal(ended?.reason, 'output_lost');
  client.socket.resume();
  await client.closed;
  assert.match(client.status, /the end of the output is lost: more than 4194304 bytes of it were left/);
});

test("the Engine's list of processes tells of the exit where its pids are not seen here", async context => {
  let exited = false;
  let taken: () => void = () => undefined;
  const tail = new Promise<void>(resolve => (taken = resolve));
  let sent = 0;
  const { client } = await serve(context, {
    play: (connection, engine) => {
      void fill(connection).then(() => {
        exited = true; // and no event: the Engine waits for its output to be read first
        connection.write(stdcopyFrame(1, 'the tail'), () => {
          taken();
          engine.sendExit(7);
          sent = 8;
          connection.end();
        });
      });
    },
    inspect: RUNNING,
    top: () => (exited ? [1] : [1, PID]),
  });
  client.socket.pause();
  await tail; // taken although the client has not read
  client.socket.resume();
  await client.closed;
  assert.ok(client.bytes > sent && client.bytes % 32_768 === sent, String(client.bytes));
  assert.match(client.status, /"reason":"ExitCode","message":"7"/);
});

test('an exit that nobody saw in time is a failure: the Engine may have dropped the tail', async context => {
  const { client, daemon } = await serve(context, {
    play: (connection, engine) => {
      void fill(connection)
        .then(() => delay(2_000))
        .then(() => {
          engine.sendExit(0);
          connection.end();
        });
    },
    inspect: RUNNING, // and no `top`: neither /proc nor the Engine tells
  });
  client.socket.pause();
  const [ended] = await daemon.waitForSessionsEnded(1);
  assert.equal(ended?.reason, 'output_lost');
  assert.ok(daemon.log.some(({ message }) => message === 'cannot see whether a command has exited'));
  client.socket.resume();
  await client.closed;
  assert.match(client.status, /the end of the output is lost: .* the command's exit was seen up to \d+ ms late/);
});

test('an exit that nobody saw in time does not matter to a client that keeps up', async context => {
  const { client } = await serve(context, {
    play: (connection, engine) => {
      connection.write(FRAME);
      setTimeout(() => {
        engine.sendExit(5);
        connection.end();
      }, 2_500);
    },
    inspect: RUNNING,
  });
  await client.closed;
  assert.equal(client.bytes, 32_768);
  assert.match(client.status, /"reason":"ExitCode","message":"5"/);
});
