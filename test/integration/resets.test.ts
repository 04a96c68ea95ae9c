import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { execOverWebSocket } from '../support/websocket-client.ts';
import { SPDY_STREAMS, upgradeRequest } from '../support/raw-upgrade.ts';
import { reset } from '../support/reset.ts';
import { serveWeb } from '../support/served.ts';

const served = serveWeb();

const EXEC = '/exec/default/web/app?command=sleep&command=1000&input=1&output=1&error=1';

async function open(): Promise<Socket> {
  const socket = connect(served.daemon.port, '127.0.0.1');
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

async function serves(): Promise<void> {
  const { stdout } = await execOverWebSocket({
    url: `ws://127.0.0.1:${served.daemon.port}/exec/default/web/app?command=echo&command=hi&output=1`,
    protocols: ['v4.channel.k8s.io'],
  });
  assert.equal(stdout.toString(), 'hi\n');
}

for (const transport of ['spdy', 'websocket'] as const) {
  const request = upgradeRequest(transport, EXEC);

  test(`${transport}: a client that resets at once, in its headers, or behind its request leaves the daemon serving`, async () => {
    for (const sent of ['', 'P', request.slice(0, 40), request.slice(0, -2), request]) {
      const socket = await open();
      socket.write(sent);
      reset(socket);
    }
    await serves();
  });

  test(`${transport}: a client that resets after the 101 leaves the daemon serving`, async () => {
    for (let round = 0; round < 5; round += 1) {
      const socket = await open();
      socket.write(request);
      await once(socket, 'data');
      reset(socket);
    }
    await serves();
  });
}

test('spdy: a client that resets after any of its streams leaves the daemon serving', async () => {
  for (let streams = 1; streams <= SPDY_STREAMS.length; streams += 1) {
    const socket = await open();
    socket.write(upgradeRequest('spdy', EXEC));
    await once(socket, 'data');
    for (const stream of SPDY_STREAMS.slice(0, streams)) {
      socket.write(stream);
      await once(socket, 'data'); // its SYN_REPLY
    }
    reset(socket);
  }
  await serves();
});

test('a client that resets in the middle of its session ends the session as client_gone', async () => {
  for (const transport of ['spdy', 'websocket'] as const) {
    const before = served.daemon.sessionsEnded().length;
    const started = served.daemon.log.length;
    const socket = await open();
    socket.write(upgradeRequest(transport, EXEC));
    await once(socket, 'data');
    if (transport === 'spdy') for (const stream of SPDY_STREAMS) socket.write(stream);
    await served.daemon.waitForLog(
      line => served.daemon.log.indexOf(line) >= started && line.message === 'session started',
    );
    reset(socket);
    await served.daemon.waitForSessionsEnded(before + 1);
    assert.equal(served.daemon.sessionsEnded().at(-1)?.reason, 'client_gone');
  }
  await serves();
});

test('an upgrade that is refused and reset leaves the daemon serving', async () => {
  for (const line of ['GET /exec/default/nobody/app?command=x&output=1', 'GET /nowhere', 'GET /exec/%zz/a/b']) {
    const socket = await open();
    socket.write(`${line} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n`);
    reset(socket);
  }
  await serves();
});
