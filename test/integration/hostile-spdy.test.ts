import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { GROWTH_BYTES, witnessed } from '../support/hostile.ts';
import { serveWeb } from '../support/served.ts';
import { controlFrame, dataFrame, dialSpdy, plainBlock, words, type SpdyClient } from '../support/spdy-client.ts';

// SPDY frames that no client of ours sends, over the socket of a real upgrade. The codec's own cases are unit tests.

const served = serveWeb({ args: ['--stream-creation-timeout', '1s'] });
const withstands = witnessed(served);

const TIMES = 20;
const MIB = 1024 * 1024;
const CAT = '/exec/default/web/app?command=cat&input=1&output=1';
const SLEEP = '/exec/default/web/app?command=sleep&command=4&input=1&output=1';

async function upgrade(path = CAT): Promise<SpdyClient> {
  const { client } = await dialSpdy({ port: served.daemon.port, path, protocols: ['v4.channel.k8s.io'] });
  assert.ok(client !== undefined);
  return client;
}

const STREAM = { error: 1, stdin: 3, stdout: 5 };

/** A session: error, stdin and stdout are open. */
async function session(path = CAT): Promise<SpdyClient> {
  const client = await upgrade(path);
  for (const streamtype of ['error', 'stdin', 'stdout']) await client.open({ streamtype });
  return client;
}

/** Sends over and over until the daemon closes or takes nothing for half a second. */
async function flood(client: SpdyClient, bytes: Buffer, times: number): Promise<void> {
  let [taken, closed] = [0, false];
  void client.closed.then(() => (closed = true));
  const all = (async () => {
    for (; taken < times && !closed; taken += 1) {
      if (client.raw(bytes)) continue;
      await Promise.race([new Promise(resolve => client.socket.once('drain', resolve)), client.closed]);
    }
  })();
  for (let before = -1; before !== taken;) {
    before = taken;
    await Promise.race([all, delay(500)]);
  }
}

const syn = (id: number, block: Buffer): Buffer =>
  controlFrame(1, 0, Buffer.concat([words(id, 0, 0).subarray(0, 10), block]));
const headers = (id: number, block: Buffer): Buffer => controlFrame(8, 0, Buffer.concat([words(id), block]));
const repeated = (count: number, bytes: Buffer): Buffer => Buffer.alloc(count * bytes.length, bytes);
/** The header of a frame that declares `length` bytes of payload, and no more. */
const declared = (type: number, length: number): Buffer =>
  controlFrame(type, 0, Buffer.alloc(0))
    .fill(0)
    .fill(Buffer.from([0x80, 3, 0, type, 0, length >> 16, (length >> 8) & 255, length & 255]));

// What is answered with GOAWAY(PROTOCOL_ERROR) and the end, before the streams are open and after.
const VIOLATIONS: [title: string, sent: (client: SpdyClient) => Buffer | Promise<Buffer>][] = [
  ['bytes that are no frame', () => Buffer.from('\xff\xff\xff\xff\xff\xff\xff\xff', 'latin1')],
  ['a frame of version 2', () => Buffer.from('800200060000000400000001', 'hex')],
  ['an unknown frame type', () => controlFrame(10, 0, words(1))],
  ['a SYN_STREAM of 16 MiB', () => declared(1, 0xffffff)],
  ['HEADERS of 16 MiB', () => declared(8, 0xffffff)],
  ['a PING of 16 MiB', () => declared(6, 0xffffff)],
  ['a GOAWAY of one byte', () => controlFrame(7, 0, Buffer.alloc(1))],
  ['a SYN_STREAM without a block', () => controlFrame(1, 0, words(7))],
  ['PING 0', () => controlFrame(6, 0, words(0))],
  ['DATA on stream 0', () => dataFrame(0, Buffer.from('x'), false)],
  ['a SYN_STREAM for stream 0', () => syn(0, Buffer.alloc(0))],
];

/** The inflater lives until the streams are open, so these come before. */
const BLOCKS: [title: string, plain: Buffer][] = [
  ['0x6a756e6b headers', words(0x6a756e6b)],
  ['a header name of 4 GiB', words(1, 0xffffffff)],
  ['a header value of 2 GiB', Buffer.concat([words(1, 1), Buffer.from('a'), words(0x7fffffff)])],
  ['bytes behind the last header', Buffer.concat([plainBlock({ a: 'b' }), Buffer.alloc(9)])],
  ['a zlib bomb of 15 MiB', Buffer.alloc(15 * MIB)],
];

async function refused(client: SpdyClient): Promise<void> {
  assert.equal(await client.goneAway, 1);
  await client.closed;
  client.destroy();
}

for (const [title, sent] of VIOLATIONS) {
  for (const [when, connect] of [
    ['before the streams', upgrade],
    ['in a session', session],
  ] as const) {
    test(`item 36: ${title}, ${when}: GOAWAY(1)`, async context => {
      const run = async (): Promise<void> => {
        const client = await connect();
        client.raw(await sent(client));
        await refused(client);
      };
      await withstands(context, { times: TIMES, run });
    });
  }
}

for (const [title, plain] of BLOCKS) {
  test(`item 36: ${title}: GOAWAY(1)`, async context => {
    const run = async (): Promise<void> => {
      const client = await upgrade();
      client.raw(syn(1, await client.deflate(plain)));
      await refused(client);
    };
    await withstands(context, { times: 5, run });
  });
}

test('item 36: a block that is no zlib: GOAWAY(1)', async context => {
  const run = async (): Promise<void> => {
    const client = await upgrade();
    client.raw(syn(1, Buffer.from('abcdefghij')));
    await refused(client);
  };
  await withstands(context, { times: TIMES, run });
});

test('item 36: 10 000 SYN_STREAMs, in a session: GOAWAY(1)', async context => {
  const run = async (): Promise<void> => {
    const client = await session();
    const all = Array.from({ length: 10_000 }, (_, index) => syn(7 + 2 * index, Buffer.from([0])));
    client.raw(Buffer.concat(all));
    await refused(client);
    assert.equal(client.frames.filter(({ kind }) => kind === 'RST_STREAM').length, 1_000);
  };
  await withstands(context, { times: 10, run });
});

test('item 36: ids that go backwards, 10 000 times: RST_STREAM(1) each, then GOAWAY(1)', async context => {
  const run = async (): Promise<void> => {
    const client = await session();
    client.raw(repeated(10_000, syn(1, Buffer.from([0]))));
    const first = await client.frame('RST_STREAM');
    assert.equal(first?.status, 1);
    await refused(client);
  };
  await withstands(context, { times: 10, run });
});

test('item 36: 100 000 HEADERS that inflate to 16 KiB each, before the streams: GOAWAY(1)', async context => {
  const run = async (): Promise<void> => {
    const client = await upgrade();
    const large = Buffer.alloc(16 * 1024);
    client.raw(headers(1, await client.deflate(large)));
    await client.deflate(large);
    // In a stream of zlib a block that repeats what went before can itself be repeated.
    await flood(client, repeated(1_000, headers(1, await client.deflate(large))), 100);
    await refused(client);
  };
  await withstands(context, { run });
});

// What a session goes on after: read, and stepped over.
const STEPPED_OVER: [title: string, sent: Buffer][] = [
  ['SETTINGS of 0xFFFFFFFF entries', controlFrame(4, 0, words(0xffffffff))],
  ['SETTINGS of 16 MiB', Buffer.concat([declared(4, 0xffffff), Buffer.alloc(0xffffff)])],
  ['a frame of 16 MiB for a stream that nobody knows', dataFrame(99, Buffer.alloc(0xffffff), true)],
  ['a frame of 16 MiB for stdout', dataFrame(STREAM.stdout, Buffer.alloc(0xffffff), false)],
  ['100 000 HEADERS', repeated(100_000, headers(STREAM.stdout, Buffer.from([1, 2, 3])))],
  ['100 000 SYN_REPLYs', repeated(100_000, controlFrame(2, 0, words(STREAM.stdout)))],
  ['100 000 RST_STREAMs for streams that nobody knows', repeated(100_000, controlFrame(3, 0, words(99, 5)))],
  ['100 000 WINDOW_UPDATEs', repeated(100_000, controlFrame(9, 0, words(STREAM.stdin, 0x7fffffff)))],
  ['100 000 frames without a byte', repeated(100_000, dataFrame(STREAM.stdin, Buffer.alloc(0), false))],
  ['10 000 PINGs whose answers are read', repeated(10_000, controlFrame(6, 0, words(1)))],
];
for (const [title, sent] of STEPPED_OVER) {
  test(`item 36: ${title}: the session goes on`, async context => {
    const run = async (): Promise<void> => {
      const client = await session();
      client.raw(sent);
      client.raw(dataFrame(STREAM.stdin, Buffer.from('still here'), true));
      assert.equal((await client.stream(STREAM.stdout)?.ended())?.toString(), 'still here');
      const status = await client.stream(STREAM.error)?.ended();
      assert.match(status?.toString() ?? '', /"status":"Success"/);
      client.destroy();
    };
    await withstands(context, { times: 5, run });
  });
}

test('item 36: 16 MiB in one frame of stdin, and DATA before, behind and after its end', async context => {
  const run = async (): Promise<void> => {
    const client = await upgrade('/exec/default/web/app?command=wc&command=-c&input=1&output=1');
    client.raw(dataFrame(STREAM.stdin, Buffer.from('too early'), true));
    for (const streamtype of ['error', 'stdin', 'stdout']) await client.open({ streamtype });
    client.raw(dataFrame(STREAM.stdin, Buffer.alloc(0xffffff), true));
    client.raw(dataFrame(STREAM.stdin, Buffer.from('too late'), true));
    client.raw(controlFrame(3, 0, words(STREAM.stdin, 5)));
    client.raw(dataFrame(STREAM.stdin, Buffer.from('even later'), false));
    assert.equal((await client.stream(STREAM.stdout)?.ended())?.toString(), '16777215\n');
    client.destroy();
  };
  await withstands(context, { times: 5, run });
});

test('item 36: GOAWAY, then anything at all: the session ends', async context => {
  const run = async (): Promise<void> => {
    const client = await session();
    client.goAway();
    client.raw(repeated(10_000, dataFrame(STREAM.stdin, Buffer.alloc(1_000), false)));
    client.raw(repeated(1_000, syn(9, Buffer.from([0]))));
    await client.closed;
    client.destroy();
  };
  await withstands(context, { times: 10, run });
});

test('item 36: a client that opens no stream, or all of them byte by byte, is given one second', async context => {
  const dripped = syn(1, Buffer.alloc(64));
  const one = async (drips: boolean): Promise<void> => {
    const client = await upgrade();
    const openedAt = performance.now();
    let at = 0;
    const timer = setInterval(() => {
      if (drips) client.raw(dripped.subarray(at, (at += 1)));
    }, 100);
    assert.equal(await client.goneAway.finally(() => clearInterval(timer)), 0);
    assert.ok(performance.now() - openedAt < 8_000);
    await client.closed;
    client.destroy();
  };
  const run = async (): Promise<void> => {
    await Promise.all(Array.from({ length: 40 }, (_, index) => one(index % 2 === 0)));
  };
  await withstands(context, { run });
});

// What one client can make the daemon hold; it does not read, so it cannot be told.
const HOARDS: [title: string, sent: Buffer, heldBytes?: number][] = [
  ['PINGs', repeated(10_000, controlFrame(6, 0, words(1)))],
  ['ids that go backwards', repeated(900, syn(1, Buffer.from([0])))],
  [
    'input for a command that does not read, each with 64 KiB of SETTINGS',
    Buffer.concat([dataFrame(STREAM.stdin, Buffer.alloc(64), false), controlFrame(4, 0, Buffer.alloc(65_000))]),
  ],
  [
    'input of one byte a frame for a command that does not read',
    repeated(10_000, dataFrame(STREAM.stdin, Buffer.from('x'), false)),
    128 * MIB,
  ],
];
for (const [title, sent, heldBytes = 0] of HOARDS) {
  test(`item 36: a client that reads nothing: ${title}`, async context => {
    const run = async (): Promise<void> => {
      const client = await session(SLEEP);
      client.pause();
      await flood(client, sent, Math.ceil((1024 * MIB) / sent.length));
      client.destroy();
    };
    await withstands(context, { growthBytes: GROWTH_BYTES + heldBytes, run });
  });
}
