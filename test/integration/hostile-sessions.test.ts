import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { WebSocket } from 'ws';
import { askApi } from '../support/api.ts';
import { temporaryDirectory } from '../support/cleanup.ts';
import { Daemon } from '../support/daemon.ts';
import { dial } from '../support/dial.ts';
import { SPDY_STREAMS, upgradeRequest } from '../support/raw-upgrade.ts';
import { TRANSPORTS, type Transport } from '../support/raw-exec.ts';
import { dialSpdy } from '../support/spdy-client.ts';
import { StandInEngine, stdcopyFrame } from '../support/stand-in-engine.ts';
import { WebSocketClient } from '../support/websocket-client.ts';

// Clients that want to outlive the limits, to be told two endings, or to hold up the daemon's stop.

const PATH = '/exec/default/web/app?command=x&input=1&output=1&error=1';

interface Played {
  readonly engine: StandInEngine;
  readonly daemon: Daemon;
  readonly creates: () => number;
}

/** A daemon before an Engine whose commands print `up` and then what they are sent, until they are sent `exit`. */
async function serve(context: TestContext, ...args: string[]): Promise<Played> {
  const engine = await StandInEngine.start({
    play: (connection, exec) => {
      connection.write(stdcopyFrame(1, 'up'));
      connection.on('data', (input: Buffer) => {
        if (!input.includes('exit')) {
          connection.write(stdcopyFrame(1, input.toString()));
          return;
        }
        connection.end();
        exec.sendExit(7);
      });
    },
  });
  const daemon = await Daemon.start({ engine, args });
  context.after(async () => {
    await daemon.stop(null);
    await engine.stop();
  });
  return { engine, daemon, creates: () => engine.calls.filter(({ path }) => path.endsWith('/exec')).length };
}

/** A session whose command runs. */
interface Client {
  readonly transport: Transport;
  exit(): Promise<void>;
  reset(): void;
  /** What came on the error stream, up to the connection's end. */
  told(): Promise<string>;
}

async function open(transport: Transport, { port }: Daemon): Promise<Client> {
  if (transport === 'websocket') {
    const url = `ws://127.0.0.1:${port}${PATH}`;
    const client = await WebSocketClient.open({ url, protocols: ['v5.channel.k8s.io'] });
    await client.until(() => client.received(1).includes('up'));
    return {
      transport,
      exit: () => client.send(0, Buffer.from('exit')),
      reset: client.reset,
      told: async () => {
        await client.closed;
        return client.received(3).toString();
      },
    };
  }
  const { client, reset } = await dialSpdy({ port, path: PATH, protocols: ['v4.channel.k8s.io'] });
  assert.ok(client !== undefined);
  const error = await client.open({ streamtype: 'error' });
  const stdin = await client.open({ streamtype: 'stdin' });
  const stdout = await client.open({ streamtype: 'stdout' });
  await client.open({ streamtype: 'stderr' });
  await stdout.receivedBytes(2);
  return {
    transport,
    exit: () => stdin.write('exit'),
    reset,
    told: async () => {
      const told = (await error.ended()).toString();
      client.end();
      return told;
    },
  };
}

async function sessionIds(daemon: Daemon): Promise<string[]> {
  const { body } = await askApi(daemon, '/execlet/v1/sessions');
  const { sessions } = body as { sessions: { id: string; state: string }[] };
  return sessions.filter(({ state }) => state !== 'ended').map(({ id }) => id);
}

test('100 upgrades at once: as many are taken as may be, the Engine hears of no others, and every place comes back', async context => {
  const { daemon, creates } = await serve(context, '--max-sessions', '10');
  for (let round = 1; round <= 3; round += 1) {
    const dialled = await Promise.all(Array.from({ length: 100 }, () => dial({ port: daemon.port })));
    const answers = dialled.map(async ({ socket }, index) => {
      const transport = TRANSPORTS[index % 2] ?? 'spdy';
      socket.write(upgradeRequest(transport, PATH));
      if (transport === 'spdy') for (const stream of SPDY_STREAMS) socket.write(stream);
      const [first] = (await once(socket, 'data')) as [Buffer];
      return first.toString('latin1', 9, 12);
    });
    const codes = await Promise.all(answers);
    assert.deepEqual(
      [codes.filter(code => code === '101').length, codes.filter(code => code === '429').length],
      [10, 90],
    );
    while (creates() < 10 * round) await sessionIds(daemon);
    for (const { reset } of dialled) reset();
    await daemon.waitForSessionsEnded(10 * round);
    while ((await sessionIds(daemon)).length > 0);
    assert.equal(creates(), 10 * round);
  }
});

test('a session that everything ends at once ends once, in both logs, and its client is told one Status at most', async context => {
  const { path: directory, remove } = await temporaryDirectory('hostile-sessions');
  context.after(remove);
  const sessionLog = join(directory, 'sessions.log');
  const { daemon } = await serve(context, '--session-log', sessionLog, '--max-sessions-per-container', '1000');
  const clients = await Promise.all(
    Array.from({ length: 80 }, (_, index) => open(TRANSPORTS[index % 2] ?? 'spdy', daemon)),
  );
  const ids = await sessionIds(daemon);
  assert.equal(ids.length, clients.length);
  const told = clients.map(client => client.told());
  const ended = ids.flatMap(id => [0, 1].map(() => askApi(daemon, `/execlet/v1/sessions/${id}`, 'DELETE')));
  for (const [index, client] of clients.entries()) {
    const exits = client.exit();
    if (index % 4 < 2) client.reset();
    await exits.catch(() => undefined); // it has left
  }
  for (const { status } of await Promise.all(ended)) assert.ok([200, 409].includes(status), String(status));
  for (const text of await Promise.all(told))
    if (text !== '') assert.equal((JSON.parse(text) as { status: string }).status, 'Failure');
  await daemon.waitForSessionsEnded(clients.length);
  while ((await sessionIds(daemon)).length > 0);
  const logged = daemon.sessionsEnded().map(({ session }) => session);
  const recorded = (await readFile(sessionLog, 'utf8'))
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as { event: string; session: string })
    .filter(({ event }) => event === 'session_ended');
  assert.deepEqual(logged.toSorted(), ids.toSorted());
  assert.deepEqual(recorded.map(({ session }) => session).toSorted(), ids.toSorted());
});

test('a session whose client opens no streams is ended at once, too', async context => {
  const { daemon, creates } = await serve(context);
  const { client } = await dialSpdy({ port: daemon.port, path: PATH, protocols: ['v4.channel.k8s.io'] });
  assert.ok(client !== undefined);
  const [id = ''] = await sessionIds(daemon);
  assert.equal((await askApi(daemon, `/execlet/v1/sessions/${id}`, 'DELETE')).status, 200);
  await client.closed;
  assert.partialDeepStrictEqual((await askApi(daemon, `/execlet/v1/sessions/${id}`)).body, {
    state: 'ended',
    reason: 'admin',
  });
  assert.equal(creates(), 0);
});

test('a stop under clients at every step of the handshake: none is told a success, none holds it up', async context => {
  const { daemon } = await serve(context);
  const [spdy, webSocket] = [upgradeRequest('spdy', PATH), upgradeRequest('websocket', PATH)];
  const admitted = [
    [spdy],
    ...SPDY_STREAMS.map((_, index) => [spdy, ...SPDY_STREAMS.slice(0, index + 1)]),
    [webSocket],
  ];
  const before = [
    [],
    [spdy.slice(0, 40)],
    [webSocket.slice(0, -2)],
    ['GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n'],
  ];
  const texts = await Promise.all(
    Array.from({ length: 5 }, () => [...admitted, ...before])
      .flat()
      .map(async sent => {
        const { socket } = await dial({ port: daemon.port });
        for (const part of sent) socket.write(part);
        return textOf(socket);
      }),
  );
  while ((await sessionIds(daemon)).length < 5 * admitted.length);
  process.kill(daemon.pid, 'SIGHUP');
  const stopped = daemon.stop(0);
  process.kill(daemon.pid, 'SIGHUP');
  for (const text of texts) assert.doesNotMatch(await text.whole, /"Success"/);
  await stopped;
  const incomplete = daemon.log.filter(({ message }) => message === 'client did not complete the upgrade');
  assert.equal(incomplete.length, 5 * SPDY_STREAMS.length); // all but those with all their streams
  for (const { error } of incomplete) assert.match(String(error), /execlet is stopping/);
});

/** All that comes, up to a regular end or a reset. In an object, so that it is not waited for. */
function textOf(socket: Socket): { readonly whole: Promise<string> } {
  const { promise: whole, resolve } = Promise.withResolvers<string>();
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    if (text.includes('"drain"')) socket.destroy(); // it has been told
  });
  socket.on('error', () => undefined).on('close', () => resolve(text));
  return { whole };
}

test('answers to pings that were never sent say nothing: who has not read its output lives on in silence, and who has is gone', async context => {
  const { daemon } = await serve(context, '--keepalive-interval', '50ms');
  const webSocket = new WebSocket(`ws://127.0.0.1:${daemon.port}${PATH}`, ['v5.channel.k8s.io'], { autoPong: false });
  const [first] = (await once(webSocket, 'message')) as [Buffer];
  assert.equal(first[0], 1);
  const payloads = ['Infinity', '-Infinity', '1e308', 'NaN', '-1', '', '0', '9007199254740993', '\0', 'x'.repeat(125)];
  const answerWhatWasNotAsked = (): void => {
    for (const payload of payloads) for (let time = 0; time < 1_000; time += 1) webSocket.pong(payload);
  };
  answerWhatWasNotAsked();
  for (let silent = 0; silent < 10; silent += 1) await once(webSocket, 'ping');
  webSocket.send(Buffer.from('\0still here'));
  for (let heard = ''; !heard.includes('still here');) {
    const [message] = (await once(webSocket, 'message')) as [Buffer];
    heard += message.toString('latin1');
  }
  await once(webSocket, 'ping'); // it may have been sent before that output
  const [ping] = (await once(webSocket, 'ping')) as [Buffer];
  webSocket.pong(ping);
  answerWhatWasNotAsked();
  await once(webSocket, 'close');
  const [ended] = await daemon.waitForSessionsEnded(1);
  assert.partialDeepStrictEqual(ended, { reason: 'client_gone' });
  assert.match(String(ended?.error), /has not answered for 0.1 s/);
});
