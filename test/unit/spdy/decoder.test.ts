import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FrameDecoder } from '../../../src/spdy/decoder.ts';
import * as vectors from '../../fixtures/spdy/vectors.ts';
import { byteByByte, cut } from '../../support/cuts.ts';
import { controlFrame, dataFrame, words } from '../../support/spdy-client.ts';
import { decoded } from './decoded.ts';

const hex = (...parts: readonly string[]): Buffer => Buffer.from(parts.join(''), 'hex');

const clientTranscript = hex(
  ...vectors.CLIENT_SYN_STREAMS.map(({ hex }) => hex),
  vectors.CLIENT_DATA_HELLO,
  vectors.CLIENT_DATA_FIN,
  vectors.CLIENT_PING,
);
const clientFrames = [
  ...vectors.CLIENT_SYN_STREAMS.map(({ id, hex }) => ({
    kind: 'SYN_STREAM',
    streamId: id,
    fin: false,
    unidirectional: false,
    headerBlock: Buffer.from(hex, 'hex').subarray(18),
  })),
  { kind: 'DATA', streamId: 3, payload: '68656c6c6f0a', fin: true },
  { kind: 'PING', id: 1 },
];

const serverTranscript = hex(
  ...vectors.GO_SYN_REPLIES.map(({ hex }) => hex),
  vectors.SETTINGS_ONE_ENTRY,
  vectors.SERVER_DATA_HI,
  vectors.WINDOW_UPDATE_5,
  vectors.SERVER_DATA_STATUS,
  vectors.SERVER_DATA_FIN,
  vectors.RST_STREAM_5_CANCEL,
  vectors.GOAWAY_9_OK,
);
const serverFrames = [
  ...vectors.GO_SYN_REPLIES.map(({ id, hex }) => ({
    kind: 'SYN_REPLY',
    streamId: id,
    fin: false,
    headerBlock: Buffer.from(hex, 'hex').subarray(12),
  })),
  { kind: 'DATA', streamId: 5, payload: '68690a', fin: false },
  {
    kind: 'DATA',
    streamId: 1,
    payload: Buffer.from('{"metadata":{},"status":"Success"}').toString('hex'),
    fin: true,
  },
  { kind: 'RST_STREAM', streamId: 5, status: 5 },
  { kind: 'GOAWAY', lastGoodStreamId: 9, status: 0 },
];

for (const [side, transcript, frames] of [
  ['client', clientTranscript, clientFrames],
  ['server', serverTranscript, serverFrames],
] as const) {
  describe(`the transcript of Go’s ${side}`, () => {
    test('whole', () => assert.deepEqual(decoded([transcript]), frames));
    test('byte by byte', () => assert.deepEqual(decoded(byteByByte(transcript)), frames));
    test('cut in two, at every place', () => {
      for (let at = 0; at <= transcript.length; at += 1) assert.deepEqual(decoded(cut(transcript, [at])), frames);
    });
  });
}

test('DATA is handed on as it arrives, without copies, and FIN comes with the last piece', () => {
  const pieces: { piece: Buffer; fin: boolean }[] = [];
  const decoder = new FrameDecoder({
    control: () => assert.fail('there is no control frame'),
    data: (_, piece, fin) => pieces.push({ piece, fin }),
  });
  const frame = dataFrame(1, Buffer.from('abcdef'), true);
  decoder.push(frame.subarray(0, 10));
  decoder.push(frame.subarray(10, 13));
  assert.deepEqual(
    pieces.map(({ piece, fin }) => [piece.toString(), fin]),
    [
      ['ab', false],
      ['cde', false],
    ],
  );
  decoder.push(frame.subarray(13));
  assert.deepEqual(pieces.at(-1), { piece: Buffer.from('f'), fin: true });
  for (const { piece } of pieces) assert.equal(piece.buffer, frame.buffer);
});

test('a DATA frame may declare 16 MiB, and costs no more than what arrives', () => {
  const before = process.memoryUsage().arrayBuffers;
  assert.deepEqual(decoded([hex('0000000300ffffff'), Buffer.from('x')]), [
    { kind: 'DATA', streamId: 3, payload: '78', fin: false },
  ]);
  assert.ok(process.memoryUsage().arrayBuffers - before < 1024 * 1024);
});

test('empty DATA says nothing without FIN', () => {
  assert.deepEqual(decoded([hex('0000000300000000', '0000000301000000')]), [
    { kind: 'DATA', streamId: 3, payload: '', fin: true },
  ]);
});

test('flags and ids are read apart', () => {
  const block = Buffer.alloc(4);
  const synStream = controlFrame(
    1,
    0x03,
    Buffer.concat([words(0xffffffff, 0xffffffff), Buffer.from('e0ff', 'hex'), block]),
  );
  assert.deepEqual(
    decoded([synStream, controlFrame(8, 0x01, Buffer.concat([words(7), block])), dataFrame(2 ** 31 - 1, block, false)]),
    [
      { kind: 'SYN_STREAM', streamId: 0x7fffffff, fin: true, unidirectional: true, headerBlock: block },
      { kind: 'HEADERS', streamId: 7, fin: true, headerBlock: block },
      { kind: 'DATA', streamId: 0x7fffffff, payload: '00000000', fin: false },
    ],
  );
  assert.deepEqual(decoded([controlFrame(6, 0, words(0xffffffff))]), [{ kind: 'PING', id: 0xffffffff }]);
});

test('SETTINGS is stepped over, whatever it declares', () => {
  const before = process.memoryUsage().arrayBuffers;
  const lying = controlFrame(4, 0, words(0xffffffff));
  const long = hex('8003000400ffffff');
  const zeros = Buffer.alloc(64 * 1024);
  assert.deepEqual(
    decoded([lying, long, ...Array<Buffer>(255).fill(zeros), zeros.subarray(1), hex(vectors.CLIENT_PING)]),
    [{ kind: 'PING', id: 1 }],
  );
  assert.ok(process.memoryUsage().arrayBuffers - before < 1024 * 1024);
});

test('100 000 frames in one chunk do not exhaust the stack', () => {
  const pings = Buffer.concat(Array<Buffer>(100_000).fill(hex(vectors.CLIENT_PING)));
  assert.equal(decoded([pings]).length, 100_000);
});

describe('is refused as soon as the header is complete:', () => {
  for (const [what, header] of [
    ['a control frame of 16 MiB', '8003000100ffffff'],
    ['a SYN_STREAM of 16 KiB and a byte', '8003000100004001'],
    ['HEADERS of 16 KiB and a byte', '8003000800004001'],
    ['a SYN_STREAM without a header block', '8003000100000009'],
    ['a SYN_REPLY without a header block', '8003000200000003'],
    ['a long PING', '8003000600000005'],
    ['a short RST_STREAM', '8003000300000007'],
    ['a long GOAWAY', '8003000700000009'],
    ['a long WINDOW_UPDATE', '800300090000000c'],
    ['SETTINGS without a count', '8003000400000003'],
    ['control type 0', '8003000000000000'],
    ['NOOP, control type 5', '8003000500000000'],
    ['CREDENTIAL, control type 10', '8003000a00000004'],
    ['version 2', '8002000600000004'],
    ['DATA on stream 0', '0000000000000001'],
  ] as const) {
    test(what, () => {
      const [error, ...more] = decoded([hex(header)]);
      assert.equal(error?.kind, 'SpdyError');
      assert.equal(error.scope, 'connection');
      assert.deepEqual(more, []);
    });
  }
});

test('a control frame of 16 KiB passes', () => {
  const [frame] = decoded([controlFrame(1, 0, Buffer.concat([words(1), Buffer.alloc(16 * 1024 - 4)]))]);
  assert.equal(frame?.kind, 'SYN_STREAM');
});

test('stream 0 and PING 0 are refused in control frames', () => {
  for (const frame of [
    controlFrame(1, 0, Buffer.alloc(14)),
    controlFrame(2, 0, Buffer.alloc(8)),
    controlFrame(3, 0, words(0, 5)),
    controlFrame(6, 0, words(0)),
    controlFrame(8, 0, words(0x80000000, 0)),
  ]) {
    assert.equal(decoded([frame])[0]?.kind, 'SpdyError');
  }
});
