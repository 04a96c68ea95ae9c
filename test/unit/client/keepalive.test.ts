import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import { WebSocket } from 'ws';
import { Keepalive } from '../../../src/client/keepalive.ts';
import { ExecServer } from '../../support/exec-server.ts';

interface Setup extends AsyncDisposable {
  readonly client: WebSocket;
  readonly server: WebSocket;
  readonly keepalive: Keepalive;
  readonly silences: () => number;
}

/** A client with its keepalive on a clock that the test turns, and the server's end of the connection. */
async function setUp(context: TestContext, { autoPong }: { autoPong: boolean }): Promise<Setup> {
  const accepted = Promise.withResolvers<WebSocket>();
  const server = await ExecServer.start(accepted.resolve, { autoPong });
  const client = new WebSocket(server.url, 'v5.channel.k8s.io');
  await once(client, 'open');
  context.mock.timers.enable({ apis: ['setInterval', 'Date'] });
  let silences = 0;
  const keepalive = new Keepalive(client, () => (silences += 1));
  keepalive.start();
  return {
    client,
    server: await accepted.promise,
    keepalive,
    silences: () => silences,
    async [Symbol.asyncDispose]() {
      keepalive.stop();
      client.terminate();
      await server[Symbol.asyncDispose]();
    },
  };
}

test('pings every 5 seconds, and answers keep the connection', async context => {
  await using setup = await setUp(context, { autoPong: true });
  for (let seconds = 0; seconds < 120; seconds += 5) {
    const pong = once(setup.client, 'pong');
    context.mock.timers.tick(5_000);
    await pong;
  }
  assert.equal(setup.silences(), 0);
});

test('61 seconds without an answer mean that nobody is there', async context => {
  await using setup = await setUp(context, { autoPong: false });
  context.mock.timers.tick(60_000);
  assert.equal(setup.silences(), 0);
  context.mock.timers.tick(5_000);
  assert.equal(setup.silences(), 1);
});

test('silence does not count while input waits to be read: such a server cannot answer', async context => {
  await using setup = await setUp(context, { autoPong: false });
  setup.keepalive.inputSent();
  context.mock.timers.tick(600_000);
  assert.equal(setup.silences(), 0);
});

test('an answer to a ping that was sent before the input says nothing about the input', async context => {
  await using setup = await setUp(context, { autoPong: false });
  const ping = new Promise<Buffer>(resolve => setup.server.once('ping', resolve));
  context.mock.timers.tick(5_000);
  const payload = await ping;
  setup.keepalive.inputSent();
  const pong = once(setup.client, 'pong');
  setup.server.pong(payload);
  await pong;
  context.mock.timers.tick(600_000);
  assert.equal(setup.silences(), 0);
});

test('silence does not count while we ourselves do not read', async context => {
  await using setup = await setUp(context, { autoPong: false });
  setup.client.pause();
  context.mock.timers.tick(600_000);
  assert.equal(setup.silences(), 0);
  setup.client.resume();
  context.mock.timers.tick(60_000);
  assert.equal(setup.silences(), 0);
  context.mock.timers.tick(5_000);
  assert.equal(setup.silences(), 1);
});
