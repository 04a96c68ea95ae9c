import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { after, before, describe, test, type TestContext } from 'node:test';
import { SpdyConnection, type SpdyConnectionOptions } from '../../../src/spdy/connection.ts';
import { EMPTY_HEADER_BLOCK } from '../../../src/spdy/header-block.ts';
import type { SpdyStream } from '../../../src/spdy/stream.ts';
import { CLIENT_SYN_STREAMS } from '../../fixtures/spdy/vectors.ts';
import { SpdyClient, controlFrame, dataFrame, plainBlock, words } from '../../support/spdy-client.ts';

const timeout = 20_000;
const server = createServer({ allowHalfOpen: true }); // like Node's HTTP server

before(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
after(() => server.close());

/** Two ends of one TCP connection; both are gone after the test. */
async function socketPair(t: TestContext): Promise<{ ours: Socket; theirs: Socket }> {
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  const accepted: Promise<Socket> = once(server, 'connection').then(([socket]: Socket[]) => {
    assert.ok(socket !== undefined);
    return socket;
  });
  const theirs = connect(address.port, '127.0.0.1');
  const ours = await accepted;
  t.after(() => {
    ours.destroy();
    theirs.destroy();
  });
  return { ours, theirs };
}

interface Harness {
  readonly connection: SpdyConnection;
  readonly client: SpdyClient;
  readonly socket: Socket;
  readonly theirs: Socket;
  readonly streams: SpdyStream[];
  /** What each was opened with. */
  readonly headers: ReadonlyMap<string, string>[];
  /** What each stream's consumer was told: payload, `end`, `reset N`. */
  readonly heard: Map<number, string[]>;
  readonly closed: Promise<Error | undefined>;
  readonly counts: { drained: number; peerGoAways: number; pongs: number; closes: number };
}

async function start(
  t: TestContext,
  options: Partial<SpdyConnectionOptions> = {},
  head = Buffer.alloc(0),
): Promise<Harness> {
  const { ours, theirs } = await socketPair(t);
  const streams: SpdyStream[] = [];
  const headers: ReadonlyMap<string, string>[] = [];
  const heard = new Map<number, string[]>();
  const counts = { drained: 0, peerGoAways: 0, pongs: 0, closes: 0 };
  const { promise: closed, resolve } = Promise.withResolvers<Error | undefined>();
  const connection = new SpdyConnection({
    socket: ours,
    maxStreams: 5,
    highWaterMarkBytes: 256 * 1024,
    onStream: (stream, itsHeaders) => {
      streams.push(stream);
      headers.push(itsHeaders);
      const log: string[] = [];
      heard.set(stream.id, log);
      stream.consume({
        data: chunk => {
          log.push(chunk.toString());
          return true;
        },
        end: () => log.push('end'),
        reset: status => log.push(`reset ${status}`),
      });
      return true;
    },
    onDrain: () => (counts.drained += 1),
    onPeerGoAway: () => (counts.peerGoAways += 1),
    onPong: () => (counts.pongs += 1),
    onClose: error => {
      counts.closes += 1;
      resolve(error);
    },
    ...options,
  });
  const client = new SpdyClient(theirs);
  connection.start(head);
  return { connection, client, socket: ours, theirs, streams, headers, heard, closed, counts };
}

function only<T>(items: readonly T[]): T {
  const [item, ...more] = items;
  assert.ok(item !== undefined && more.length === 0, `${items.length} items`);
  return item;
}

describe('streams', { timeout }, () => {
  test('each SYN_STREAM is answered at once with an empty SYN_REPLY, and data flows both ways', async t => {
    const { client, streams, headers, heard } = await start(t);
    const opened = [];
    for (const streamtype of ['error', 'stdin', 'stdout', 'stderr', 'resize']) {
      opened.push(await client.open({ streamtype }));
    }
    assert.deepEqual(
      streams.map(({ id }, index) => [id, headers[index]?.get('streamtype')]),
      [
        [1, 'error'],
        [3, 'stdin'],
        [5, 'stdout'],
        [7, 'stderr'],
        [9, 'resize'],
      ],
    );
    for (const frame of client.frames) {
      assert.equal(frame.kind, 'SYN_REPLY');
      assert.deepEqual(frame.block, EMPTY_HEADER_BLOCK);
    }
    await opened[1]?.write('input');
    opened[1]?.end();
    streams[2]?.write(Buffer.from('output'));
    streams[2]?.end();
    assert.equal((await opened[2]?.ended())?.toString(), 'output');
    assert.equal(opened[2]?.finished, true);
    await client.ping();
    assert.deepEqual(heard.get(3), ['input', 'end']);
  });

  test('what came behind the upgrade request is read first', async t => {
    const [first, second] = CLIENT_SYN_STREAMS;
    const { client, headers } = await start(t, {}, Buffer.from(first.hex + second.hex.slice(0, 20), 'hex'));
    client.raw(Buffer.from(second.hex.slice(20), 'hex'));
    await client.frame('SYN_REPLY', frame => frame.id === 3);
    assert.deepEqual(
      headers.map(each => each.get('streamtype')),
      ['error', 'stdin'],
    );
  });

  test('data written within onStream follows the SYN_REPLY', async t => {
    const { client } = await start(t, {
      onStream: stream => {
        stream.write(Buffer.from('early'));
        stream.end();
        return true;
      },
    });
    const stream = await client.open({ streamtype: 'stdout' });
    assert.equal((await stream.ended()).toString(), 'early');
    assert.deepEqual(
      client.frames.map(({ kind }) => kind),
      ['SYN_REPLY', 'DATA', 'DATA'],
    );
  });

  test('a stream that onStream does not want is refused, and its slot is free', async t => {
    const { client } = await start(t, { maxStreams: 1, onStream: (_stream, headers) => headers.has('wanted') });
    await assert.rejects(client.open({ unwanted: '' }), /was reset: 3/);
    await client.open({ wanted: '' });
  });

  test('streams beyond maxStreams are refused, and read all the same: the next block can be understood', async t => {
    const { client, headers } = await start(t, { maxStreams: 2 });
    const first = await client.open({ streamtype: 'a' });
    await client.open({ streamtype: 'b' });
    await assert.rejects(client.open({ streamtype: 'refused' }), /was reset: 3/);
    first.reset();
    await client.open({ streamtype: 'c' });
    assert.deepEqual(
      headers.map(each => each.get('streamtype')),
      ['a', 'b', 'c'],
    );
  });

  test('a slot is free when both sides have ended, not before', async t => {
    const { client, streams } = await start(t, { maxStreams: 1 });
    const first = await client.open({ n: '1' });
    first.end();
    await assert.rejects(client.open({ n: '2' }), /was reset: 3/);
    only(streams).end();
    await client.open({ n: '3' });
  });

  test('ids that do not grow are answered with PROTOCOL_ERROR and ignored, even ids are not', async t => {
    const { client, headers, heard } = await start(t);
    const stream = await client.open({ n: '6' }, { id: 6 });
    const { resetStatus: none } = stream;
    assert.equal(none, undefined);
    await client.openUnanswered({ n: '4' }, { id: 4 });
    await client.openUnanswered({ n: 'again' }, { id: 6 });
    const statusOf = async (id: number): Promise<number | undefined> =>
      (await client.frame('RST_STREAM', frame => frame.id === id))?.status;
    assert.deepEqual([await statusOf(4), await statusOf(6)], [1, 1]);
    client.raw(dataFrame(6, Buffer.from('still open'), false));
    await client.open({ n: '7' }, { id: 7 });
    assert.deepEqual(
      headers.map(each => each.get('n')),
      ['6', '7'],
    );
    assert.deepEqual(heard.get(6), ['still open']);
  });

  test('a header that is not allowed costs its stream only', async t => {
    const { client } = await start(t);
    await assert.rejects(client.open({ streamType: 'error' }), /was reset: 1/);
    await client.open({ streamtype: 'error' });
  });

  test('a reset reaches the consumer, which hears nothing more', async t => {
    const { client, heard, streams } = await start(t);
    const stream = await client.open({ streamtype: 'stdin' });
    await stream.write('a');
    stream.reset(5);
    await stream.write('b');
    stream.end();
    stream.reset(5);
    await client.ping();
    assert.deepEqual(heard.get(1), ['a', 'reset 5']);
    assert.equal(only(streams).write(Buffer.from('nobody hears')), true);
    only(streams).end();
    await client.ping();
    assert.equal(stream.received.length, 0);
  });

  test('a consumer without reset hears of an end', async t => {
    const log: string[] = [];
    const { client } = await start(t, {
      onStream: stream => {
        stream.consume({ data: () => true, end: () => log.push('end') });
        return true;
      },
    });
    (await client.open({ n: '1' })).reset();
    const second = await client.open({ n: '2' });
    second.end();
    second.reset();
    await client.ping();
    assert.deepEqual(log, ['end', 'end']);
  });

  test('our reset ends the stream for both sides', async t => {
    const { client, heard, streams } = await start(t);
    const stream = await client.open({ streamtype: 'stdin' });
    only(streams).reset(5);
    only(streams).reset(5);
    only(streams).end();
    await stream.ended();
    await stream.write('late');
    await client.ping();
    assert.equal(stream.resetStatus, 5);
    assert.deepEqual(heard.get(1), []);
    assert.equal(client.frames.filter(({ kind }) => kind === 'RST_STREAM').length, 1);
  });

  test('nothing follows a FIN, in either direction', async t => {
    const { client, heard, streams } = await start(t);
    const stream = await client.open({ streamtype: 'stdin' });
    stream.end();
    await stream.write('after FIN');
    stream.end();
    await client.ping();
    only(streams).write(Buffer.from('out'));
    only(streams).end();
    only(streams).write(Buffer.from('after FIN'));
    only(streams).end();
    await client.ping();
    assert.deepEqual(heard.get(1), ['end']);
    assert.equal(stream.received.toString(), 'out');
    assert.equal(client.frames.filter(({ kind }) => kind === 'DATA').length, 2);
  });

  test('a SYN_STREAM with FIN is half-closed at birth, and HEADERS with FIN half-closes', async t => {
    const { client, heard } = await start(t);
    await client.open({ streamtype: 'stdin' }, { fin: true });
    const other = await client.open({ streamtype: 'other' });
    client.raw(controlFrame(8, 1, Buffer.concat([words(other.id), await client.deflate(plainBlock({ a: 'b' }))])));
    await client.open({ streamtype: 'next' });
    assert.deepEqual(heard.get(1), ['end']);
    assert.deepEqual(heard.get(3), ['end']);
  });

  test('nothing is written to a unidirectional stream', async t => {
    const { client, streams } = await start(t);
    const block = await client.deflate(plainBlock({ streamtype: 'stdout' }));
    client.raw(controlFrame(1, 2, Buffer.concat([words(1, 0), Buffer.alloc(2), block])));
    await client.ping();
    only(streams).write(Buffer.from('x'));
    only(streams).end();
    await client.ping();
    assert.ok(client.frames.every(({ kind }) => kind !== 'DATA'));
  });

  test('frames for unknown streams are ignored', async t => {
    const { client } = await start(t);
    client.raw(dataFrame(99, Buffer.from('x'), true));
    client.raw(controlFrame(3, 0, words(99, 5)));
    client.raw(controlFrame(2, 1, Buffer.concat([words(99), await client.deflate(plainBlock({}))])));
    assert.equal((await client.open({ streamtype: 'error' })).replied, true);
  });

  test('after releaseInflater every stream is refused, unread', async t => {
    const { client, connection, streams } = await start(t);
    await client.open({ streamtype: 'error' });
    connection.releaseInflater();
    client.raw(controlFrame(1, 0, Buffer.concat([words(3, 0), Buffer.alloc(2), Buffer.from('not even zlib')])));
    client.raw(controlFrame(8, 0, Buffer.concat([words(1), Buffer.from('nor this')])));
    assert.equal((await client.frame('RST_STREAM'))?.status, 3);
    assert.equal(await client.ping(), true);
    assert.equal(streams.length, 1);
  });
});

describe('data', { timeout }, () => {
  test('any sizes arrive whole and in order, in frames of at most 32 KiB, over two streams', async t => {
    const { client, streams } = await start(t);
    const opened = [await client.open({ n: 'a' }), await client.open({ n: 'b' })] as const;
    const sizes = [1, 1023, 1024, 1025, 32_767, 32_768, 32_769, 65_536, 300_000, 1];
    const written = sizes.map((size, index) => Buffer.alloc(size, index + 1));
    for (const chunk of written) for (const stream of streams) stream.write(chunk);
    for (const stream of streams) stream.end();
    for (const stream of opened) assert.ok((await stream.ended()).equals(Buffer.concat(written)));
    for (const frame of client.frames) assert.ok(frame.kind !== 'DATA' || frame.payload.length <= 32_768);
  });

  test('a chunk of no bytes is not sent', async t => {
    const { client, streams } = await start(t);
    await client.open({ n: 'a' });
    assert.equal(only(streams).write(Buffer.alloc(0)), true);
    await client.ping();
    assert.ok(client.frames.every(({ kind }) => kind !== 'DATA'));
  });

  for (const highWaterMarkBytes of [256 * 1024, 1]) {
    test(`a client that does not read stops the writer at ${highWaterMarkBytes} bytes, and onDrain lets it go on`, async t => {
      let drained = (): void => undefined;
      const { client, socket, streams } = await start(t, { highWaterMarkBytes, onDrain: () => drained() });
      const stream = await client.open({ n: 'a' });
      client.pause();
      const chunk = Buffer.alloc(40_000, 'x');
      let written = 0;
      let drain: Promise<'drained'>;
      do {
        do written += chunk.length;
        while (only(streams).write(chunk));
        assert.ok(socket.writableLength < Math.max(highWaterMarkBytes, socket.writableHighWaterMark) + 50_000);
        drain = new Promise(resolve => (drained = () => resolve('drained')));
        // The kernel takes a few megabytes; only when it takes no more has the client's silence reached us.
      } while ((await Promise.race([drain, turns(20)])) === 'drained');
      client.resume();
      await drain;
      only(streams).end();
      assert.equal((await stream.ended()).length, written);
    });
  }

  test('a consumer that wants no more stops the connection until resume', async t => {
    let taken = 0;
    const { client, connection } = await start(t, {
      onStream: stream => {
        stream.consume({
          data: chunk => {
            taken += chunk.length;
            return false;
          },
          end: () => undefined,
        });
        return true;
      },
    });
    const stream = await client.open({ streamtype: 'stdin' });
    const total = 16 * 1024 * 1024;
    const sent = stream.write(Buffer.alloc(total)).then(() => client.ping());
    await turns(50);
    assert.ok(taken > 0 && taken <= 64 * 1024, `${taken} bytes were taken`);
    const resumed = setInterval(() => connection.resume(), 0);
    t.after(() => clearInterval(resumed));
    assert.equal(await sent, true);
    assert.equal(taken, total);
  });

  test('without a consumer input is read and dropped', async t => {
    const { client } = await start(t, { onStream: () => true });
    const stream = await client.open({ streamtype: 'stdin' });
    await stream.write(Buffer.alloc(4 * 1024 * 1024));
    stream.end();
    assert.equal(await client.ping(), true);
  });

  test('pause stops everything, PINGs too', async t => {
    const { connection, client } = await start(t);
    connection.pause();
    const ponged = client.ping();
    await turns(10);
    assert.equal(client.frames.length, 0);
    connection.resume();
    assert.equal(await ponged, true);
  });
});

describe('PING', { timeout }, () => {
  test('odd ids are sent back as they are', async t => {
    const { client, counts } = await start(t);
    for (const id of [1, 3, 0x7fffffff, 0xffffffff]) assert.equal(await client.ping(id), true);
    assert.equal(counts.pongs, 0);
  });

  test('ours are even, and answers to them are not answered again', async t => {
    const pongs: number[] = [];
    const { connection, client } = await start(t, { onPong: ping => pongs.push(ping) });
    const first = 1;
    const last = 0x7fff_ffff;
    for (const ping of [first, last, last + 1]) assert.equal(connection.ping(ping), true);
    await client.ping();
    assert.deepEqual(
      client.frames.map(frame => frame.kind === 'PING' && frame.id),
      [2, 0xffff_fffe, 2, 1],
    );
    await client.ping(); // behind the answers to ours
    assert.deepEqual(pongs, [first, last, first]);
  });

  test('none is sent behind a GOAWAY', async t => {
    const { connection, client } = await start(t);
    connection.goAway();
    assert.equal(connection.ping(1), false);
    assert.equal(await client.ping(), true);
    assert.deepEqual(
      client.frames.map(({ kind }) => kind),
      ['GOAWAY', 'PING'],
    );
  });

  test('a peer that floods us and never reads is read no further, and heard again when it does read', async t => {
    const { client, socket } = await start(t);
    const pings = Buffer.concat(Array.from({ length: 100_000 }, () => controlFrame(6, 0, words(1))));
    client.pause();
    let sent = 0;
    const before = process.memoryUsage().rss;
    // Both kernels' buffers fill up, then we stop reading, then the client can send no more.
    while (client.raw(pings) || (await Promise.race([once(client.socket, 'drain'), turns(50)])) !== undefined) {
      sent += pings.length;
      assert.ok(sent < 200 * 1024 * 1024, 'we never stopped reading');
    }
    sent += pings.length;
    assert.ok(socket.isPaused());
    assert.ok(socket.writableLength < 256 * 1024, `${socket.writableLength} bytes of answers are queued`);
    assert.ok(process.memoryUsage().rss - before < 150 * 1024 * 1024);
    client.resume();
    const last = client.ping(3);
    assert.equal(await last, true);
    assert.equal(client.frames.length, sent / 12 + 1, 'none was forgotten');
  });
});

describe('ends', { timeout }, () => {
  test('the peer’s FIN is a disconnect without an error', async t => {
    const { client, closed, connection, counts } = await start(t);
    await client.open({ streamtype: 'error' });
    client.goAway();
    client.end();
    assert.equal(await closed, undefined);
    await connection.whenClosed();
    assert.equal(connection.closed, true);
    assert.deepEqual(counts, { drained: 0, peerGoAways: 1, pongs: 0, closes: 1 });
  });

  test('a reset of the transport is told with its error', async t => {
    const { client, closed, theirs } = await start(t);
    await client.open({ streamtype: 'error' });
    theirs.resetAndDestroy();
    assert.match(String(await closed), /ECONNRESET/);
  });

  test('a socket that has closed before start is told', async t => {
    const { ours, theirs } = await socketPair(t);
    const { promise, resolve } = Promise.withResolvers<Error | undefined>();
    theirs.destroy();
    ours.destroy();
    await once(ours, 'close');
    const connection = new SpdyConnection({
      socket: ours,
      maxStreams: 5,
      highWaterMarkBytes: 1,
      onStream: () => true,
      onDrain: () => undefined,
      onPeerGoAway: () => undefined,
      onClose: resolve,
    });
    connection.start(Buffer.alloc(0));
    assert.equal(await promise, undefined);
    await connection.whenClosed();
  });

  test('GOAWAY names the last stream, refuses what comes later, and is sent once', async t => {
    const { client, connection } = await start(t);
    await client.open({ streamtype: 'error' });
    connection.goAway();
    connection.goAway();
    await assert.rejects(client.open({ streamtype: 'stdin' }), /was reset: 3/);
    assert.deepEqual(
      client.frames.filter(({ kind }) => kind === 'GOAWAY'),
      [{ kind: 'GOAWAY', lastGoodId: 1, status: 0 }],
    );
  });

  test('end delivers everything first, then FIN, and reading goes on', async t => {
    const { client, connection, heard, streams } = await start(t);
    const stream = await client.open({ streamtype: 'stdin' });
    client.pause();
    const output = Buffer.alloc(20 * 1024 * 1024, 'x');
    only(streams).write(output);
    only(streams).end();
    connection.end();
    only(streams).write(Buffer.from('too late'));
    connection.ping(1);
    await stream.write('input');
    client.resume();
    await client.closed;
    assert.equal(stream.received.length, output.length);
    assert.equal(stream.finished, true);
    assert.deepEqual(heard.get(1), ['input']);
    client.end();
    await connection.whenClosed();
  });

  test('calls after the end do nothing', async t => {
    const { connection, client, streams, counts } = await start(t);
    await client.open({ streamtype: 'error' });
    connection.destroy();
    await connection.whenClosed();
    only(streams).end();
    only(streams).reset(5);
    assert.equal(connection.ping(1), false);
    connection.goAway();
    connection.pause();
    connection.resume();
    connection.end();
    connection.destroy();
    assert.equal(counts.closes, 1);
  });

  test('an owner that destroys within a callback hears nothing more of that chunk', async t => {
    const log: string[] = [];
    const { client, connection, closed } = await start(t, {
      onStream: stream => {
        stream.consume({
          data: chunk => {
            log.push(chunk.toString());
            connection.destroy();
            return true;
          },
          end: () => log.push('end'),
        });
        return true;
      },
    });
    const { id } = await client.open({ streamtype: 'stdin' });
    client.raw(Buffer.concat([dataFrame(id, Buffer.from('a'), false), dataFrame(id, Buffer.from('b'), true)]));
    await closed;
    assert.deepEqual(log, ['a']);
  });
});

describe('violations', { timeout }, () => {
  for (const [what, bytes] of [
    ['bytes that are no frame', Buffer.from('GET / HTTP/1.1\r\n\r\n').fill(0xff, 0, 1)],
    ['a control frame of 16 MiB', Buffer.from('8003000100ffffff', 'hex')],
    ['a header block that is no zlib', controlFrame(1, 0, Buffer.concat([words(1, 0), Buffer.from('abcdefghij')]))],
    ['an unknown control type', controlFrame(10, 0, words(1))],
  ] as const) {
    test(`${what}: GOAWAY(1), then the end`, async t => {
      const { client, closed, connection, counts } = await start(t);
      client.raw(Buffer.concat([bytes, controlFrame(6, 0, words(1))]));
      assert.equal(await client.goneAway, 1);
      const error = await closed;
      assert.equal(error?.name, 'SpdyError');
      await client.closed;
      client.end();
      await connection.whenClosed();
      assert.equal(counts.closes, 1);
      assert.deepEqual(
        client.frames.map(({ kind }) => kind),
        ['GOAWAY'],
      );
    });
  }

  test('what a violator goes on sending is read, also where its input had stopped the connection', async t => {
    const { client, closed, socket, connection } = await start(t, {
      onStream: stream => {
        stream.consume({ data: () => false, end: () => undefined });
        return true;
      },
    });
    const { id } = await client.open({ streamtype: 'stdin' });
    client.raw(Buffer.concat([dataFrame(id, Buffer.from('x'), false), controlFrame(10, 0, words(1))]));
    assert.equal((await closed)?.name, 'SpdyError');
    assert.equal(socket.isPaused(), false);
    client.end();
    await connection.whenClosed();
  });

  test('a violator that neither reads nor closes is destroyed', async t => {
    const { client, closed, connection, streams } = await start(t);
    await client.open({ streamtype: 'stdout' });
    client.pause();
    only(streams).write(Buffer.alloc(20 * 1024 * 1024));
    client.raw(controlFrame(10, 0, words(1)));
    assert.equal((await closed)?.name, 'SpdyError');
    await connection.whenClosed();
  });

  test('10 000 SYN_STREAMs end the connection, and keep nothing', async t => {
    const { client, closed, streams } = await start(t);
    for (let count = 0; count < 10_000; count += 1) await client.openUnanswered({ streamtype: 'stdin' });
    assert.match(String(await closed), /streams had to be refused/);
    assert.equal(await client.goneAway, 1);
    assert.equal(streams.length, 5);
    assert.equal(client.frames.filter(({ kind }) => kind === 'RST_STREAM').length, 1_000);
  });

  test('2 000 streams that end are served', async t => {
    const { client } = await start(t, {
      onStream: stream => {
        stream.end();
        return true;
      },
    });
    for (let count = 0; count < 2_000; count += 1) await client.openUnanswered({ n: '' }, { fin: true });
    assert.equal(await client.ping(), true);
    assert.equal(client.frames.filter(({ kind }) => kind === 'RST_STREAM').length, 0);
  });
});

/** Lets the event loop turn, with the sockets' events in it: enough for the kernel to move what it can. */
async function turns(count: number): Promise<undefined> {
  for (let turn = 0; turn < count; turn += 1) await new Promise<void>(resolve => setImmediate(resolve));
  return undefined;
}
