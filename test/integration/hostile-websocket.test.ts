import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { GROWTH_BYTES, RawConnection, witnessed } from '../support/hostile.ts';
import { serveWeb } from '../support/served.ts';

// WebSocket frames that no client of ours sends, over a bare socket.

const served = serveWeb();
const withstands = witnessed(served);

const TIMES = 20;
const MIB = 1024 * 1024;
const CAT = '/exec/default/web/app?command=cat&output=1&input=1';
const SLEEP = '/exec/default/web/app?command=sleep&command=4&output=1&input=1';
const WITHOUT_STDIN = '/exec/default/web/app?command=sleep&command=3600&output=1&tty=1';

const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };

interface FrameOptions {
  readonly fin?: boolean;
  readonly reserved?: number;
  readonly masked?: boolean;
  readonly declared?: number;
}

/** A frame of a client, masked with zeros. */
function frame(opcode: number, payload: Buffer | string = '', options: FrameOptions = {}): Buffer {
  const { fin = true, reserved = 0, masked = true, declared = payload.length } = options;
  const mask = masked ? 0x80 : 0;
  const head = Buffer.alloc(declared < 126 ? 2 : declared < 65_536 ? 4 : 10);
  head[0] = (fin ? 0x80 : 0) | reserved | opcode;
  head[1] = mask | (declared < 126 ? declared : declared < 65_536 ? 126 : 127);
  if (head.length === 4) head.writeUInt16BE(declared, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(declared), 2);
  return Buffer.concat([head, Buffer.alloc(masked ? 4 : 0), Buffer.from(payload)]);
}

function stdin(payload: string | Buffer): Buffer {
  return frame(OPCODE.binary, Buffer.concat([Buffer.from([0]), Buffer.from(payload)]));
}

/** Upgrades, and waits for the message that says so. */
async function open(path = CAT, protocol = 'v5.channel.k8s.io', more = ''): Promise<RawConnection> {
  const connection = await RawConnection.open(served.daemon.port);
  await connection.send(
    `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
      `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ${protocol}\r\n${more}\r\n`,
  );
  await connection.until(received => received.includes('\r\n\r\n'));
  return connection;
}

/** The frames of the daemon, which are never masked. */
function framesOf(answer: Buffer): { opcode: number; payload: Buffer }[] {
  const frames: { opcode: number; payload: Buffer }[] = [];
  for (let at = answer.indexOf('\r\n\r\n') + 4; at + 2 <= answer.length;) {
    const short = answer.readUInt8(at + 1);
    const [length, head] =
      short < 126
        ? [short, 2]
        : short === 126
          ? [answer.readUInt16BE(at + 2), 4]
          : [Number(answer.readBigUInt64BE(at + 2)), 10];
    frames.push({ opcode: answer.readUInt8(at) & 15, payload: answer.subarray(at + head, at + head + length) });
    at += head + length;
  }
  return frames;
}

function closeCodeOf(answer: Buffer): number | undefined {
  const close = framesOf(answer).find(({ opcode }) => opcode === OPCODE.close);
  return close && (close.payload.length < 2 ? 1005 : close.payload.readUInt16BE(0));
}

/** What ends a session at once. */
interface Row {
  readonly title: string;
  readonly sent: Buffer;
  readonly code: number;
  /** The text of the CLOSE. */
  readonly text?: RegExp;
  readonly path?: string;
  readonly protocol?: string;
  readonly times?: number;
}

const unfinished = { fin: false };
const message = (...bytes: number[]): Buffer => frame(OPCODE.binary, Buffer.from(bytes));
const close = (...bytes: number[]): Buffer => frame(OPCODE.close, Buffer.from(bytes));
const piece = (payload: string): Buffer => frame(OPCODE.continuation, payload, unfinished);
const V4_BASE64 = 'v4.base64.channel.k8s.io';

const FRAMES: Row[] = [
  { title: 'a frame without a mask', sent: frame(OPCODE.binary, '\0x', { masked: false }), code: 1002 },
  { title: 'reserved bit 1', sent: frame(OPCODE.binary, '\0x', { reserved: 0x40 }), code: 1002 },
  { title: 'reserved bit 2', sent: frame(OPCODE.binary, '\0x', { reserved: 0x20 }), code: 1002 },
  { title: 'a reserved opcode', sent: frame(3, '\0x'), code: 1002 },
  { title: 'a reserved control opcode', sent: frame(11), code: 1002 },
  { title: 'a continuation of nothing', sent: frame(OPCODE.continuation, 'x'), code: 1002 },
  {
    title: 'a message within a message',
    sent: Buffer.concat([frame(OPCODE.binary, '\0', unfinished), stdin('x')]),
    code: 1002,
  },
  { title: 'a PING in fragments', sent: frame(OPCODE.ping, '', unfinished), code: 1002 },
  { title: 'a PING of 126 bytes', sent: frame(OPCODE.ping, 'x'.repeat(126)), code: 1002 },
  { title: 'text that is no UTF-8', sent: frame(OPCODE.text, Buffer.from([0, 0xff])), code: 1007 },
  { title: 'a message of 16 MiB and a byte', sent: frame(OPCODE.binary, '', { declared: 16 * MIB + 1 }), code: 1009 },
  { title: 'a message of 2^40 bytes', sent: frame(OPCODE.binary, '', { declared: 2 ** 40 }), code: 1009 },
  { title: 'a message of 2^62 bytes', sent: frame(OPCODE.binary, '', { declared: 2 ** 62 }), code: 1009 },
  {
    title: 'a message of 64 KiB and a byte, without stdin',
    sent: frame(OPCODE.binary, '', { declared: 65_537 }),
    code: 1009,
    path: WITHOUT_STDIN,
  },
];

const CLOSES: Row[] = [
  { title: 'a CLOSE of one byte', sent: close(3), code: 1002 },
  { title: 'a CLOSE with code 0', sent: close(0, 0), code: 1002 },
  { title: 'a CLOSE with code 1006', sent: close(3, 0xee), code: 1002 },
  { title: 'a CLOSE with code 65535', sent: close(255, 255), code: 1002 },
  { title: 'a CLOSE whose reason is no UTF-8', sent: close(3, 0xe8, 0xff, 0xfe), code: 1007 },
  { title: 'input behind a CLOSE', sent: Buffer.concat([close(3, 0xe8), repeated(1_000, stdin('x'))]), code: 1000 },
];

// Each takes a second, for which the peer may take the reason.
const SUBPROTOCOL: Row[] = [
  { title: 'a CLOSE signal of one byte', sent: message(255), code: 1002, text: /malformed CLOSE signal/ },
  { title: 'a CLOSE signal for channel 9', sent: message(255, 9), code: 1002, text: /malformed CLOSE signal/ },
  { title: 'a CLOSE signal of three bytes', sent: message(255, 0, 0), code: 1002, text: /malformed CLOSE signal/ },
  {
    title: 'base64 that is none',
    sent: frame(OPCODE.text, '0???'),
    code: 1002,
    text: /malformed base64/,
    protocol: V4_BASE64,
  },
].map(row => ({ ...row, sent: Buffer.concat([row.sent, stdin('not to be heard')]), times: 1 }));

const FLOODS: Row[] = [
  { title: '100 000 fragments without a byte', sent: repeated(100_000, piece('')), code: 1008 },
  { title: '100 000 fragments of a byte', sent: repeated(100_000, piece('x')), code: 1008 },
].map(row => ({ ...row, sent: Buffer.concat([frame(OPCODE.binary, '\0', unfinished), row.sent]), times: 10 }));

for (const [group, rows] of Object.entries({
  'item 36, frames': FRAMES,
  'item 36, the end': CLOSES,
  'items 28 and 36, the subprotocol': SUBPROTOCOL,
  'item 36, floods': FLOODS,
})) {
  describe(group, () => {
    for (const { title, sent, code, text = /^/, path, protocol, times = TIMES } of rows) {
      test(`${title}: closed with ${code}`, async context => {
        const run = async (): Promise<void> => {
          const connection = await open(path, protocol);
          await connection.send(sent);
          const answer = await connection.closedByDaemon();
          const end = framesOf(answer).at(-1);
          assert.equal(end?.opcode, OPCODE.close);
          assert.equal(end.payload.readUInt16BE(0), code);
          assert.match(end.payload.toString('utf8', 2), text);
          assert.ok(!answer.includes('not to be heard'));
        };
        await withstands(context, { times, run });
      });
    }
  });
}

// What a session goes on after.
const HARMLESS: [title: string, sent: Buffer, protocol?: string][] = [
  ['100 000 messages without a byte', repeated(100_000, frame(OPCODE.binary))],
  ['100 000 messages for channel 7', repeated(100_000, message(7, 1, 2, 3))],
  ['text instead of binary', frame(OPCODE.text, '\0x')],
  ['100 000 PONGs that nobody asked for', repeated(100_000, frame(OPCODE.pong, 'x'))],
  ['1 000 PINGs in one go, whose PONGs are read', repeated(1_000, frame(OPCODE.ping))],
  ['1 000 fragments', Buffer.concat([frame(OPCODE.binary, '\0', unfinished), repeated(1_000, piece('x')), frame(0)])],
  ['channel 255 before v5', Buffer.concat([message(255), message(255, 9), message(255, 0, 0)]), 'v4.channel.k8s.io'],
  ['base64 of 12 MiB that nobody asked for', frame(OPCODE.text, `7${'A'.repeat(12 * MIB)}`), V4_BASE64],
];
for (const [title, sent, protocol] of HARMLESS) {
  test(`item 28: ${title}: the session goes on`, async context => {
    const [said, heard] =
      protocol === V4_BASE64 ? [frame(OPCODE.text, '0aGVhcg=='), '1aGVhcg=='] : [stdin('hear'), 'hear'];
    const run = async (): Promise<void> => {
      const connection = await open(CAT, protocol);
      await connection.send(sent);
      await connection.send(said);
      await connection.until(received => received.includes(heard));
      await connection.send(close(3, 0xe8));
      const answer = await connection.closedByDaemon();
      assert.ok(answer.includes(heard));
      assert.equal(closeCodeOf(answer), 1000);
    };
    await withstands(context, { times: 5, run });
  });
}

test('a CLOSE ends the session at once, also of a client that reads nothing any more and keeps its connection', async context => {
  const { daemon } = served;
  const connection = await open('/exec/default/web/app?command=cat&command=/dev/zero&output=1');
  context.after(() => connection.socket.destroy());
  connection.socket.pause();
  const ended = daemon.sessionsEnded().length;
  await connection.send(close(3, 0xe8));
  const sessions = await daemon.waitForSessionsEnded(ended + 1);
  assert.equal(sessions.at(-1)?.reason, 'client_gone');
});

/** Frames that say nothing and ask for nothing, enough for one read of 64 KiB. */
const PADDING = repeated(490, frame(OPCODE.pong, 'x'.repeat(125)));

/** What one client can make the daemon hold: the bound of SECURITY.md, beside what waits for the collector. */
interface Hoard {
  readonly title: string;
  readonly heldBytes?: number;
  /** Of the CLOSE, where the client reads it. */
  readonly code?: number;
  readonly attack: (connection: RawConnection) => Promise<void>;
}

const HOARDS: Hoard[] = [
  {
    title: 'PINGs of a client that does not read',
    attack: async connection => {
      connection.socket.pause();
      await connection.flood(repeated(10_000, frame(OPCODE.ping, 'x'.repeat(125))), 1_000);
    },
  },
  {
    title: 'a message of fragments, each with 64 KiB of PONGs',
    heldBytes: 64 * MIB, // 1024 fragments, each of which keeps what was read with it
    code: 1008,
    attack: async connection => {
      await connection.send(frame(OPCODE.binary, '\0', unfinished));
      await connection.flood(Buffer.concat([piece('x'), PADDING]), 4_096);
    },
  },
  {
    title: 'a message of 16 MiB that comes byte by byte',
    attack: async connection => {
      await connection.send(frame(OPCODE.binary, '', { declared: 16 * MIB }));
      for (let count = 0; count < 50_000 && (await connection.send('x')); count += 1) await turn();
      connection.socket.destroy();
    },
  },
  {
    title: 'input for a command that does not read, each with 64 KiB of PONGs',
    attack: async connection => {
      await connection.send(stdin('x'.repeat(128 * 1024))); // what pipes and the Engine take
      await floodUntilStuck(connection, Buffer.concat([stdin('x'.repeat(64)), PADDING]));
    },
  },
  {
    title: 'input of one byte a message for a command that does not read',
    heldBytes: 128 * MIB, // 256 Ki writes to the Engine, of one byte and half a KiB around it
    attack: connection => floodUntilStuck(connection, repeated(10_000, stdin('x'))),
  },
];
for (const { title, heldBytes = 0, code, attack } of HOARDS) {
  test(`item 36: ${title}`, async context => {
    const run = async (): Promise<void> => {
      const connection = await open(SLEEP);
      await attack(connection);
      if (code === undefined) connection.socket.destroy();
      else assert.equal(closeCodeOf(await connection.closedByDaemon()), code);
    };
    await withstands(context, { growthBytes: GROWTH_BYTES + heldBytes, run });
  });
}

/** Floods until nothing has been taken for half a second, or 1 GiB has been. */
async function floodUntilStuck(connection: RawConnection, bytes: Buffer): Promise<void> {
  const all = connection.flood(bytes, Math.ceil((1024 * MIB) / bytes.length));
  for (let before = -1; before !== connection.socket.bytesWritten;) {
    before = connection.socket.bytesWritten;
    await Promise.race([all, delay(500)]);
  }
}

function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}

function repeated(count: number, bytes: Buffer): Buffer {
  return Buffer.alloc(count * bytes.length, bytes);
}
