import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { test } from 'node:test';
import { setImmediate, setTimeout as delay } from 'node:timers/promises';
import { resetConnection } from '../../../src/remotecommand/reset-connection.ts';

async function withPair(use: (ours: Socket, peer: Socket) => Promise<void>): Promise<void> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const peer = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true });
  peer.on('error', () => undefined);
  const [ours] = (await once(server, 'connection')) as [Socket];
  ours.on('error', () => undefined);
  try {
    await use(ours, peer);
  } finally {
    peer.destroy();
    server.close();
  }
}

/** By its event: a socket whose reset has failed says `closed` of itself, and is open. */
function closing(socket: Socket): Promise<boolean> {
  return Promise.race([once(socket, 'close').then(() => true), delay(2_000, false, { ref: false })]);
}

const MOMENTS: Readonly<Record<string, () => Promise<unknown>>> = {
  'in the same turn': () => Promise.resolve(),
  'after the next tick': () => new Promise<void>(resolve => process.nextTick(resolve)),
  'after two of them': () => new Promise<void>(resolve => process.nextTick(() => process.nextTick(resolve))),
  'a turn later': () => setImmediate(),
  'long after': () => delay(20),
};

for (const [moment, come] of Object.entries(MOMENTS)) {
  test(`a connection whose end has been said is reset and closed ${moment}`, async () => {
    await withPair(async ours => {
      ours.write('bye');
      ours.end();
      await come();
      const closed = closing(ours);
      resetConnection(ours);
      assert.ok(await closed);
    });
  });
}

test('what the peer has not taken is lost, and the peer sees a reset', async () => {
  await withPair(async (ours, peer) => {
    ours.write(Buffer.alloc(16 * 1024 * 1024));
    ours.end();
    await delay(20);
    const closed = closing(ours);
    resetConnection(ours);
    assert.ok(await closed);
    const failed = once(peer, 'error');
    peer.resume();
    const [cause] = (await failed.catch((error: unknown) => [error])) as [NodeJS.ErrnoException];
    assert.equal(cause.code, 'ECONNRESET');
  });
});
