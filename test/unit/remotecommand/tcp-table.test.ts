import assert from 'node:assert/strict';
import { once } from 'node:events';
import { access } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { endianness } from 'node:os';
import { test, type TestContext } from 'node:test';
import { parseRow, readUnanswered, tcpConnectionOf } from '../../../src/remotecommand/tcp-table.ts';

const noTable = await access('/proc/net/tcp6').then(
  () => false,
  () => 'this kernel has no /proc/net/tcp6',
);
const otherOrder = endianness() === 'BE' && 'the rows were captured on a little-endian machine';

test('the heading is no row', () => {
  const heading =
    '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                      ';
  assert.equal(parseRow(heading), undefined);
});

// Captured from Linux 6.18, with 10.201.78.1:7777 on the machine's own side.
const ends = '014EC90A:1E61 024EC90A:C844';
for (const [what, unanswered, columns] of [
  ['a peer that has closed its window and answers the probes', 0, '04:00000A20 00000000     0        0 9112171 3'],
  ['the same, with its packets dropped', 1, '04:00001492 00000000     0        1 9112171 3'],
  ['a peer that does not acknowledge what was written', 7, '01:00000813 00000007     0        0 9112171 3'],
  ['the same, long after', 18, '01:00000813 00000012     0        0 9112171 3'],
  ['a peer that does not answer keepalive probes', 4, '02:00000000 00000000     0        4 9112171 3'],
  ['another user', 2, '01:00000000 00000002 1000000        0 9112171 3'],
] as const) {
  test(`counts what has no answer: ${what}`, () => {
    const row = `1166: ${ends} 01 000A8400:00000000 ${columns} 000000005de0f844 20 4 30 10 -1`;
    assert.deepEqual(parseRow(row), { ends, unanswered });
  });
}

/** One connection's ends, within this machine. */
async function connection(context: TestContext, listenOn: string, connectTo: string): Promise<[Socket, Socket]> {
  const server = createServer().listen(0, listenOn);
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, connectTo);
  const [accepted] = (await once(server, 'connection')) as [Socket];
  context.after(() => {
    accepted.destroy();
    client.destroy();
    server.close();
  });
  return [accepted, client];
}

for (const [what, listenOn, connectTo] of [
  ['IPv4', '127.0.0.1', '127.0.0.1'],
  ['IPv6', '::1', '::1'],
  ['IPv4 on a listener of both', '::', '127.0.0.1'],
] as const) {
  test(`finds a connection in the kernel's table: ${what}`, { skip: noTable }, async context => {
    for (const socket of await connection(context, listenOn, connectTo)) {
      const tcp = tcpConnectionOf(socket);
      assert.ok(tcp !== undefined);
      assert.deepEqual([...(await readUnanswered(tcp.table, new Set([tcp.ends])))], [[tcp.ends, 0]]);
    }
  });
}

test('names an address as the kernel does', { skip: otherOrder }, () => {
  const local = { localAddress: 'fe80::a1:2%eth0', localPort: 80 };
  const remote = { remoteAddress: '2001:db8::ff00:42:8329', remotePort: 65535 };
  assert.deepEqual(tcpConnectionOf({ ...local, ...remote }), {
    table: '/proc/net/tcp6',
    ends: '000080FE00000000000000000200A100:0050 B80D01200000000000FF000029834200:FFFF',
  });
});

test('a socket without a connection has none', async context => {
  const [socket] = await connection(context, '127.0.0.1', '127.0.0.1');
  socket.destroy();
  await once(socket, 'close');
  assert.equal(tcpConnectionOf(socket), undefined);
});
