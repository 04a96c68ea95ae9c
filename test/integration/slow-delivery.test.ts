import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { WebSocket } from 'ws';
import type { Acceptance } from '../../src/remotecommand/accept.ts';
import { negotiateSpdy, negotiateWebSocket } from '../../src/remotecommand/protocol.ts';
import { acceptSpdy } from '../../src/remotecommand/spdy.ts';
import { VanishedHosts } from '../../src/remotecommand/vanished-hosts.ts';
import { WebSocketAcceptor } from '../../src/remotecommand/websocket.ts';
import type { RemoteCommandConnection } from '../../src/exec/connection.ts';
import { dialSpdy } from '../support/spdy-client.ts';

// The clock for the peer's close is short here, so that a client which reads slowly is soon slower than it.
const CLOSE_TIMEOUT_MS = 50;
/** Longer than that clock and the 5 s after our FIN. */
const PAUSE_MS = 6_000;
const BYTES = 4_000_000;
/** Many answers to these come before the one that says that all is delivered. */
const KEEPALIVE_INTERVAL_MS = 20;

/** Accepts one connection, writes BYTES of output and ends with exit code 7, as fast as the socket takes it. */
async function serveOne(
  context: TestContext,
  accept: (acceptance: Omit<Acceptance, 'protocol'>) => Promise<RemoteCommandConnection>,
): Promise<{ port: number; finished: Promise<void> }> {
  const server = createServer();
  const finished = Promise.withResolvers<undefined>();
  server.on('upgrade', (request, socket, head) => {
    const limits = {
      highWaterMarkBytes: 256 * 1024,
      streamCreationTimeoutMs: 5_000,
      deliveryTimeoutMs: 20_000,
      closeTimeoutMs: CLOSE_TIMEOUT_MS,
      keepaliveIntervalMs: KEEPALIVE_INTERVAL_MS,
      onKeepalive: () => undefined,
      vanishedHosts: new VanishedHosts({ intervalMs: KEEPALIVE_INTERVAL_MS }),
    };
    const wanted = { stdin: false, stdout: true, stderr: false, tty: false };
    const ending = new AbortController().signal;
    void accept({ request, socket, head, wanted, limits, session: 'one', ending }).then(async connection => {
      const drained = { notify: (): void => undefined };
      connection.streams.onDrain(() => drained.notify());
      for (let written = 0; written < BYTES; written += 40_000) {
        if (connection.streams.stdout?.write(Buffer.alloc(40_000, 'x')) === false) {
          await new Promise<void>(resolve => (drained.notify = resolve));
        }
      }
      await connection.finish({ kind: 'exited', exitCode: 7 });
      finished.resolve(undefined);
    }, finished.reject);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => server.close());
  return { port: (server.address() as AddressInfo).port, finished: finished.promise };
}

test('spdy: a client that reads slower than the clock for its close gets every byte and the status', async context => {
  const protocol = negotiateSpdy(['v4.channel.k8s.io']);
  const { port, finished } = await serveOne(context, acceptance => acceptSpdy({ ...acceptance, protocol }));
  const { client } = await dialSpdy({ port, path: '/', protocols: [protocol.name] });
  assert.ok(client !== undefined);
  const error = await client.open({ streamtype: 'error' });
  const stdout = await client.open({ streamtype: 'stdout' });
  client.pause();
  const pings = setInterval(() => client.raw(Buffer.from('800300060000000400000001', 'hex')), 100); // kubectl sends some too
  await delay(PAUSE_MS);
  client.resume();
  assert.equal((await stdout.ended()).length, BYTES);
  assert.match((await error.ended()).toString(), /"reason":"ExitCode","message":"7"/);
  clearInterval(pings);
  client.end();
  await finished;
});

test('websocket: a client that reads slower than the clock for its close gets every byte and the status', async context => {
  const protocol = negotiateWebSocket(['v4.channel.k8s.io']);
  const acceptor = new WebSocketAcceptor({ closeTimeoutMs: 20_000 });
  const { port, finished } = await serveOne(context, acceptance => acceptor.accept({ ...acceptance, protocol }));
  const client = new WebSocket(`ws://127.0.0.1:${port}/`, [protocol.name]);
  let bytes = 0;
  let status = '';
  client.on('message', (message: Buffer) => {
    if (message[0] === 1) bytes += message.length - 1;
    else status += message.toString('utf8', 1);
  });
  await once(client, 'open');
  client.pause();
  const pings = setInterval(() => client.ping(), 100);
  await delay(PAUSE_MS);
  client.resume();
  const [code] = (await once(client, 'close')) as [number];
  clearInterval(pings);
  assert.deepEqual([bytes, code], [BYTES, 1000]);
  assert.match(status, /"reason":"ExitCode","message":"7"/);
  await finished;
});
