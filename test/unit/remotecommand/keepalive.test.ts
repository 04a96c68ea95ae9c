import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { Keepalive } from '../../../src/remotecommand/keepalive.ts';
import { VanishedHosts } from '../../../src/remotecommand/vanished-hosts.ts';

const INTERVAL_MS = 20_000;

interface Setup {
  readonly keepalive: Keepalive;
  /** Ours, and the client's. */
  readonly socket: Socket;
  readonly client: Socket;
  /** The pings that were sent. */
  readonly pings: number[];
  readonly results: string[];
  readonly ends: string[];
  /** Turns the clock by one interval. */
  readonly tick: () => void;
}

/** The keepalive of one end of a connection, on a clock that the test turns; pings are counted and not sent. */
async function setUp(context: TestContext): Promise<Setup> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [socket] = (await once(server, 'connection')) as [Socket];
  server.close();
  socket.resume();
  context.mock.timers.enable({ apis: ['setInterval'] });
  const [pings, results, ends]: [number[], string[], string[]] = [[], [], []];
  const keepalive = new Keepalive({
    socket,
    limits: {
      keepaliveIntervalMs: INTERVAL_MS,
      onKeepalive: result => results.push(result),
      vanishedHosts: new VanishedHosts({ intervalMs: INTERVAL_MS }),
    },
    sendPing: ping => pings.push(ping) > 0,
    onGone: reason => ends.push(`${reason.endReason}: ${reason.message}`),
  });
  context.after(() => {
    keepalive.stop();
    client.destroy();
    socket.destroy();
  });
  return { keepalive, socket, client, pings, results, ends, tick: () => context.mock.timers.tick(INTERVAL_MS) };
}

test('one ping an interval, until two are missed; that is told once', async context => {
  const { keepalive, pings, results, ends, tick } = await setUp(context);
  keepalive.start();
  for (let interval = 0; interval < 10; interval += 1) tick();
  assert.deepEqual(pings, [1, 2]);
  assert.deepEqual(results, ['missed', 'ended']);
  assert.deepEqual(ends, ['client_gone: the client has not answered for 40 s']);
});

test('any byte of the client is life', async context => {
  const { keepalive, socket, client, pings, results, ends, tick } = await setUp(context);
  keepalive.start();
  tick();
  for (let interval = 0; interval < 10; interval += 1) {
    client.write('x');
    await once(socket, 'data');
    tick();
  }
  assert.deepEqual(pings.length, 11);
  assert.deepEqual(results, Array(10).fill('answered'));
  assert.deepEqual(ends, []);
});

test('while output waits for the kernel no pings pile up behind it', async context => {
  const { keepalive, socket, client, pings, ends, tick } = await setUp(context);
  client.pause();
  keepalive.start();
  keepalive.outputWritten();
  socket.write(Buffer.alloc(50_000_000));
  for (let interval = 0; interval < 10; interval += 1) tick();
  assert.deepEqual([pings, ends], [[], []]);
  client.resume();
  await once(socket, 'drain');
  tick();
  assert.deepEqual(pings, [1]);
});

test('a client whose input we do not read is not judged', async context => {
  const { keepalive, socket, ends, tick } = await setUp(context);
  keepalive.start();
  socket.pause();
  for (let interval = 0; interval < 10; interval += 1) tick();
  assert.deepEqual(ends, []);
  socket.resume();
  tick();
  tick();
  assert.equal(ends.length, 1);
});

test('everything has been read when the ping behind it is answered, not one before', async context => {
  const { keepalive, tick } = await setUp(context);
  keepalive.start();
  tick();
  let read = false;
  const allRead = keepalive.allRead().then(() => (read = true));
  for (const ping of [1, 3, Infinity, NaN]) keepalive.answered(ping); // the others answer none of ours
  await Promise.resolve();
  assert.equal(read, false);
  keepalive.answered(2);
  await allRead;
});

test('whoever waits for an answer waits no longer than the connection lives', async context => {
  const { keepalive, pings, tick } = await setUp(context);
  keepalive.start();
  const waiting = keepalive.allRead();
  keepalive.stop();
  await waiting;
  await keepalive.allRead();
  tick();
  assert.deepEqual(pings, [1]);
});
