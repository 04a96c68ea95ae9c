import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { SpdyEnd } from '../../../examples/apiserver-proxy/spdy-end.ts';

const STATUS = '{"status":"Failure"}';
const ERROR = 1;
const STDOUT = 5;
const REPLY = Buffer.from('80030002000000180000000178f9e3c6a7c2000400fbff00000000000000ffff', 'hex');
const PING = Buffer.from('800300060000000400000001', 'hex');

const session = Buffer.concat([REPLY, data(STDOUT, 'hello '), PING, data(STDOUT, 'world'), data(STDOUT, '', true)]);
const whole = Buffer.concat([session, data(ERROR, '{"status":"Success"}'), data(ERROR, '', true)]);

test('a session that ends as it should goes on frame by frame, whatever pieces it comes in', async () => {
  for (let size = 1; size <= whole.length; size += 1) {
    const { control, streams } = read(await through(whole, size));
    assert.deepEqual(control, [REPLY.toString('hex'), PING.toString('hex')]);
    assert.deepEqual(streams, {
      [STDOUT]: { text: 'hello world', ended: true },
      [ERROR]: { text: '{"status":"Success"}', ended: true },
    });
  }
});

test('wherever it is cut off, what came is passed on and the error stream says so, between two frames', async () => {
  for (let cut = 0; cut <= session.length; cut += 1) {
    for (const size of [1, 7, 1_000]) {
      const { streams } = read(await through(session.subarray(0, cut), size));
      assert.deepEqual(streams[ERROR], { text: STATUS, ended: true });
      assert.ok('hello world'.startsWith(streams[STDOUT]?.text ?? ''));
    }
  }
  const cut = session.indexOf('hello') + 3;
  assert.equal(read(await through(session.subarray(0, cut), cut)).streams[STDOUT]?.text, 'hel');
});

test('a status that is cut off stays so: nothing can make it one that a client takes for success', async () => {
  const cut = whole.indexOf('Success') + 3;
  const { streams } = read(await through(whole.subarray(0, cut), cut));
  assert.deepEqual(streams[ERROR], { text: '{"status":"Suc', ended: true });
});

test('a node that resets the error stream has ended it', async () => {
  const reset = Buffer.from('80030003000000080000000100000005', 'hex');
  const status = data(ERROR, '{"status":"Success"}');
  const out = await through(Buffer.concat([status, reset]), 5);
  assert.equal(read(out).streams[ERROR]?.text, '{"status":"Success"}');
  assert.ok(out.subarray(-reset.length).equals(reset));
});

test('a control frame that declares megabytes is not waited for', async () => {
  const end = new SpdyEnd(STATUS);
  const error = new Promise(resolve => end.once('error', resolve));
  end.write(Buffer.from('8003000200ffffff0000', 'hex'));
  assert.match(String(await error), /control frame that is too long/);
});

function data(stream: number, text: string, fin = false): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32BE(stream, 0);
  header.writeUInt8(fin ? 1 : 0, 4);
  header.writeUIntBE(text.length, 5, 3);
  return Buffer.concat([header, Buffer.from(text)]);
}

/** What comes out when the bytes go in in pieces of that size. */
async function through(bytes: Buffer, size: number): Promise<Buffer> {
  const end = new SpdyEnd(STATUS);
  const out = buffer(end);
  for (let at = 0; at < bytes.length; at += size) end.write(bytes.subarray(at, at + size));
  end.end();
  return out;
}

interface Read {
  readonly control: readonly string[];
  readonly streams: Readonly<Record<number, { text: string; ended: boolean }>>;
}

/** Reads frames to the end. @throws where a frame is cut off, or a stream goes on after its end */
function read(bytes: Buffer): Read {
  const control: string[] = [];
  const streams: Record<number, { text: string; ended: boolean }> = {};
  for (let at = 0; at < bytes.length;) {
    const end = at + 8 + bytes.readUIntBE(at + 5, 3);
    assert.ok(end <= bytes.length, 'the last frame is cut off');
    if (bytes.readUInt8(at) >= 0x80) {
      control.push(bytes.subarray(at, end).toString('hex'));
    } else {
      const stream = (streams[bytes.readUInt32BE(at)] ??= { text: '', ended: false });
      assert.ok(!stream.ended, 'data behind the end of its stream');
      stream.text += bytes.subarray(at + 8, end).toString();
      stream.ended = (bytes.readUInt8(at + 4) & 1) !== 0;
    }
    at = end;
  }
  return { control, streams };
}
