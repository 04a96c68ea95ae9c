// What a peer writes by the book is read as it was meant: the other half of "any bytes give the same, however they are cut".
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { constants, deflateSync } from 'node:zlib';
import fc from 'fast-check';
import { exitCodeOf } from '../../src/client/exec-status.ts';
import { messageIn } from '../../src/client/refusal.ts';
import { parseDuration } from '../../src/config/duration.ts';
import { parseEndpoint } from '../../src/config/endpoint.ts';
import { parseEvent } from '../../src/docker/engine-events.ts';
import { StdcopyDemultiplexer } from '../../src/docker/stdcopy.ts';
import { representationFor } from '../../src/kubeapi/accept.ts';
import { parseFieldSelector, parseLabelSelector } from '../../src/kubeapi/selectors.ts';
import { statusBody } from '../../src/kubeapi/status-body.ts';
import { CHANNEL, decodeBase64, decodeBinary, encodeBase64, encodeBinary } from '../../src/remotecommand/channel.ts';
import { SPDY_PROTOCOLS } from '../../src/remotecommand/protocol.ts';
import { encodeStatus } from '../../src/remotecommand/status.ts';
import { TerminalSizeDecoder } from '../../src/remotecommand/terminal-size.ts';
import { HEADER_DICTIONARY } from '../../src/spdy/dictionary.ts';
import { encodeDataHeader, encodeGoAway, encodePing, encodeRstStream, encodeSynReply } from '../../src/spdy/encoder.ts';
import { HeaderBlockInflater, HeaderBlockStorer, parseHeaderBlock } from '../../src/spdy/header-block.ts';
import { cut } from '../support/cuts.ts';
import { controlFrame, dataFrame, plainBlock, words } from '../support/spdy-client.ts';
import { decoded } from '../unit/spdy/decoded.ts';
import { ACCEPT_ENTRIES } from './targets/accept.ts';
import { labelledPod } from './targets/selectors.ts';
import { stdcopyHeader } from './targets/stdcopy.ts';

const bytes = (maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map(array => Buffer.from(array));
const cuts = fc.array(fc.nat(), { maxLength: 12 });

describe('SPDY', () => {
  const id = fc.integer({ min: 1, max: 0x7fff_ffff });
  const word = fc.integer({ min: 1, max: 0xffff_ffff });
  const flag = fc.boolean();
  const block = bytes(30);
  /** A frame as our encoder or a client writes it, and what it says. */
  const frame = fc.oneof(
    fc.tuple(id, bytes(30), flag, flag).map(([streamId, payload, fin, byUs]) => ({
      wire: byUs
        ? Buffer.concat([encodeDataHeader(streamId, payload.length, fin), payload])
        : dataFrame(streamId, payload, fin),
      said: payload.length === 0 && !fin ? [] : [{ kind: 'DATA', streamId, payload: payload.toString('hex'), fin }],
    })),
    fc.tuple(id, block, flag, flag).map(([streamId, headerBlock, fin, unidirectional]) => ({
      wire: controlFrame(
        1,
        Number(fin) + 2 * Number(unidirectional),
        Buffer.concat([words(streamId, 0), Buffer.alloc(2), headerBlock]),
      ),
      said: [{ kind: 'SYN_STREAM', streamId, fin, unidirectional, headerBlock }],
    })),
    fc.tuple(id, block).map(([streamId, headerBlock]) => ({
      wire: encodeSynReply(streamId, headerBlock),
      said: [{ kind: 'SYN_REPLY', streamId, fin: false, headerBlock }],
    })),
    fc.tuple(id, block, flag).map(([streamId, headerBlock, fin]) => ({
      wire: controlFrame(8, Number(fin), Buffer.concat([words(streamId), headerBlock])),
      said: [{ kind: 'HEADERS', streamId, fin, headerBlock }],
    })),
    fc.tuple(id, word).map(([streamId, status]) => ({
      wire: encodeRstStream(streamId, status),
      said: [{ kind: 'RST_STREAM', streamId, status }],
    })),
    word.map(pingId => ({ wire: encodePing(pingId), said: [{ kind: 'PING', id: pingId }] })),
    fc.tuple(fc.nat({ max: 0x7fff_ffff }), word).map(([lastGoodStreamId, status]) => ({
      wire: encodeGoAway(lastGoodStreamId, status),
      said: [{ kind: 'GOAWAY', lastGoodStreamId, status }],
    })),
    bytes(20).map(rest => ({ wire: controlFrame(4, 0, Buffer.concat([words(0), rest])), said: [] })),
    fc.tuple(id, word).map(([streamId, delta]) => ({ wire: controlFrame(9, 0, words(streamId, delta)), said: [] })),
  );

  test('frames are decoded to what was encoded, at any split', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 8 }), cuts, (frames, places) => {
        // A PING in between, since DATA frames of one stream that follow each other count as one.
        const wire = Buffer.concat(frames.flatMap(({ wire: one }) => [one, encodePing(1)]));
        const said = frames.flatMap(({ said: one }): readonly unknown[] => [...one, { kind: 'PING', id: 1 }]);
        assert.deepEqual(decoded(cut(wire, places)), said);
      }),
    );
  });

  test('whatever headers zlib compresses, or our own storer wraps, are read back', () => {
    const name = fc.stringMatching(/^[a-z0-9-]{1,64}$/);
    const value = bytes(100).map(array => array.toString('latin1'));
    fc.assert(
      fc.property(fc.dictionary(name, value, { maxKeys: 16 }), headers => {
        const plain = plainBlock(headers);
        const deflated = deflateSync(plain, { dictionary: HEADER_DICTIONARY, finishFlush: constants.Z_SYNC_FLUSH });
        for (const written of [deflated, new HeaderBlockStorer().store(plain)]) {
          const read = parseHeaderBlock(new HeaderBlockInflater().inflate(written));
          assert.deepEqual([...read], Object.entries(headers));
        }
      }),
    );
  });
});

test('a message of a channel is decoded to what was encoded, in both forms', () => {
  fc.assert(
    fc.property(fc.constantFrom(...Object.values(CHANNEL)), bytes(100), (channel, payload) => {
      const expected = { kind: 'data', channel, payload };
      assert.deepEqual(decodeBinary(encodeBinary(channel, payload), { closeSignal: true }), expected);
      assert.deepEqual(decodeBase64(Buffer.from(encodeBase64(channel, payload))), expected);
    }),
  );
});

test('the newest of the sizes that a terminal can have is found, at any split', () => {
  const size = fc.record({ Width: fc.nat({ max: 70_000 }), Height: fc.nat({ max: 70_000 }) });
  const isSize = ({ Width, Height }: { Width: number; Height: number }): boolean =>
    [Width, Height].every(cells => cells >= 1 && cells <= 0xffff);
  fc.assert(
    fc.property(fc.array(size), fc.constantFrom('', '\n', ' \r\n'), cuts, (sizes, between, places) => {
      const wire = Buffer.from(sizes.map(one => JSON.stringify(one)).join(between));
      const decoder = new TerminalSizeDecoder();
      const found = cut(wire, places).map(chunk => decoder.push(chunk));
      const last = sizes.findLast(isSize);
      const expected = last && { width: last.Width, height: last.Height };
      assert.deepEqual(
        found.findLast(one => one !== undefined),
        expected,
      );
    }),
  );
});

test("tells stdout from stderr in the Engine's stream, at any split", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.constantFrom(1, 2), bytes(50)), { maxLength: 20 }), cuts, (frames, places) => {
      const wire = Buffer.concat(frames.flatMap(([type, payload]) => [stdcopyHeader(type, payload.length), payload]));
      const outputs: Record<string, Buffer[]> = { stdout: [], stderr: [] };
      const demultiplexer = new StdcopyDemultiplexer((stream, slice) => outputs[stream]?.push(slice));
      for (const chunk of cut(wire, places)) demultiplexer.push(chunk);
      demultiplexer.end();
      for (const [type, stream] of [
        [1, 'stdout'],
        [2, 'stderr'],
      ] as const) {
        const written = frames.filter(([of]) => of === type).map(([, payload]) => payload);
        assert.deepEqual(Buffer.concat(outputs[stream] ?? []), Buffer.concat(written));
      }
    }),
  );
});

test("an exec's exit code is read from its event", () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.nat({ max: 999 }), (containerId, execId, exitCode) => {
      const Attributes = { execID: execId, exitCode: String(exitCode) };
      const event = parseEvent(JSON.stringify({ Action: 'exec_die', Actor: { ID: containerId, Attributes } }));
      assert.deepEqual(event, exitCode > 255 ? undefined : { action: 'exec_die', containerId, execId, exitCode });
    }),
  );
});

test('the first entry of an Accept header that can be written wins', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...ACCEPT_ENTRIES), { minLength: 1 }), entries => {
      const [first] = entries.map(([, alone]) => alone).filter(alone => alone !== undefined);
      assert.deepEqual(representationFor(entries.map(([entry]) => entry).join(', ')), first);
    }),
  );
});

describe('selectors', () => {
  const space = fc.constantFrom('', ' ', '\t ');
  const label = fc.constantFrom<string[]>('app', 'example.com/tier', 'x', 'toString');
  const value = fc.constantFrom<string[]>('', 'web', 'db', 'a.b-c_d');

  test('a label selector selects the pods for which all its terms hold', () => {
    const term = fc.oneof(
      fc.tuple(label, space, fc.constantFrom('=', '==', '!='), space, value).map(([key, s1, operator, s2, wanted]) => ({
        text: `${s1}${key}${s1}${operator}${s2}${wanted}${s2}`,
        holds: (has: string | undefined) => (has === wanted) === (operator !== '!='),
        key,
      })),
      fc
        .tuple(label, space, fc.constantFrom('in', 'notin'), fc.array(value, { minLength: 1, maxLength: 3 }))
        .map(([key, s1, operator, wanted]) => ({
          text: `${key} ${s1}${operator}${s1}(${wanted.join(`${s1},`)})`,
          holds: (has: string | undefined) => (has !== undefined && wanted.includes(has)) === (operator === 'in'),
          key,
        })),
      fc.tuple(label, space, fc.constantFrom('', '!')).map(([key, s1, not]) => ({
        text: `${not}${s1}${key}`,
        holds: (has: string | undefined) => (has === undefined) === (not === '!'),
        key,
      })),
    );
    fc.assert(
      fc.property(fc.array(term, { maxLength: 4 }), fc.dictionary(label, value), (terms, labels) => {
        const expected = terms.every(({ holds, key }) => holds(Object.hasOwn(labels, key) ? labels[key] : undefined));
        assert.equal(parseLabelSelector(terms.map(({ text }) => text).join(','))(labelledPod(labels)), expected);
      }),
    );
  });

  test('so does a field selector', () => {
    const pod = labelledPod({});
    const fields = new Map([
      ['metadata.name', 'web'],
      ['metadata.namespace', 'ns'],
      ['spec.nodeName', 'node-1'],
      ['status.phase', 'Running'],
    ]);
    const wanted = fc.constantFrom('', ...fields.values());
    const term = fc.tuple(fc.constantFrom(...fields.keys()), fc.constantFrom('=', '==', '!='), space, wanted);
    fc.assert(
      fc.property(fc.array(term, { maxLength: 3 }), terms => {
        const text = terms.map(([key, operator, s1, one]) => `${key}${s1}${operator}${s1}${one}`).join(',');
        const expected = terms.every(([key, operator, , one]) => (fields.get(key) === one) === (operator !== '!='));
        assert.equal(parseFieldSelector(text)(pod), expected);
      }),
    );
  });
});

test('the exit code of an outcome arrives at the client', () => {
  const [v4] = SPDY_PROTOCOLS;
  assert.ok(v4 !== undefined);
  fc.assert(
    fc.property(fc.nat({ max: 255 }), exitCode => {
      assert.equal(exitCodeOf(encodeStatus({ kind: 'exited', exitCode }, v4)), exitCode);
    }),
  );
});

test('the message of a refusal arrives at the client', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), message => {
      assert.equal(messageIn(JSON.stringify(statusBody(404, 'NotFound', message))), message);
      assert.equal(messageIn(JSON.stringify({ error: message })), message);
    }),
  );
});

test('hours, minutes and seconds add up', () => {
  fc.assert(
    fc.property(fc.nat(500), fc.nat(59), fc.nat(59), fc.nat(999), (h, m, s, ms) => {
      assert.equal(parseDuration(`${h}h${m}m${s}s${ms}ms`), ((h * 60 + m) * 60 + s) * 1000 + ms);
    }),
  );
});

test('an endpoint is where it says', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('tcp', 'http', 'https'),
      fc.domain(),
      fc.integer({ min: 1, max: 65_535 }),
      (scheme, host, port) => {
        const text = `${scheme}://${host}:${port}`;
        assert.deepEqual(parseEndpoint(text), { text, protocol: scheme === 'https' ? 'https' : 'http', host, port });
      },
    ),
  );
});
