import assert from 'node:assert/strict';
import { once } from 'node:events';
import { syncBuiltinESMExports } from 'node:module';
import net, { Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { LostNodes } from '../../../examples/apiserver-proxy/lost-nodes.ts';

const EVERY_MS = 5;
/** Each dial fails so, or connects. */
let outcome: string | undefined;
const dialled: unknown[] = [];

net.connect = (options: unknown) => {
  dialled.push(options);
  const socket = new Socket();
  const code = outcome;
  setImmediate(() => {
    if (code === undefined) socket.emit('connect');
    else socket.destroy(Object.assign(new Error(code), { code }));
  });
  return socket;
};
syncBuiltinESMExports();

function session(): Socket {
  const socket = new Socket();
  Object.defineProperties(socket, { remoteAddress: { value: '192.0.2.1' }, remotePort: { value: 10_350 } });
  return socket;
}

for (const code of ['EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT']) {
  test(`${code}: the sessions with that host are ended, and it is dialled no more`, { timeout: 10_000 }, async () => {
    outcome = code;
    dialled.length = 0;
    const sessions = [session(), session()];
    const lostNodes = new LostNodes(EVERY_MS);
    const closed = Promise.all(sessions.map(socket => once(socket, 'close')));
    for (const socket of sessions) lostNodes.watch(socket);
    await closed;
    await delay(10 * EVERY_MS);
    assert.ok([3, 4].includes(dialled.length), `dialled ${dialled.length} times`);
    assert.deepEqual(dialled[0], { host: '192.0.2.1', port: 10_350 });
  });
}

for (const code of [undefined, 'ECONNREFUSED', 'EMFILE', 'EADDRNOTAVAIL', 'ENOTFOUND']) {
  test(`${code ?? 'a connection'} says nothing of the host: its sessions go on`, { timeout: 10_000 }, async () => {
    outcome = code;
    dialled.length = 0;
    const socket = session();
    new LostNodes(EVERY_MS).watch(socket);
    while (dialled.length < 6) await delay(EVERY_MS);
    assert.equal(socket.destroyed, false);
    socket.destroy();
  });
}
