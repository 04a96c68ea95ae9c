import assert from 'node:assert/strict';
import fc from 'fast-check';
import { StdcopyDemultiplexer, StdcopyError } from '../../../src/docker/stdcopy.ts';
import { outcomeOf, sameForEverySplit, type FuzzTarget } from '../target.ts';

/** The header of a frame, with a length that may be a lie. */
export function stdcopyHeader(type: number, length: number): Buffer {
  const header = Buffer.alloc(8, 0);
  header.writeUInt8(type, 0);
  header.writeUInt32BE(length, 4);
  return header;
}

interface Demultiplexed {
  readonly stdout: string;
  readonly stderr: string;
  readonly error: string;
}

function demultiplex(chunks: readonly Buffer[]): Demultiplexed {
  const outputs = { stdout: '', stderr: '' };
  const demultiplexer = new StdcopyDemultiplexer((stream, slice) => (outputs[stream] += slice.toString('hex')));
  const ended = outcomeOf(() => {
    for (const chunk of chunks) demultiplexer.push(chunk);
    demultiplexer.end();
  }, StdcopyError);
  return { ...outputs, error: 'error' in ended ? ended.error.message : '' };
}

/** The outputs, read from the whole stream at once. */
function outputsIn(stream: Buffer): Omit<Demultiplexed, 'error'> {
  const outputs = { stdout: '', stderr: '' };
  for (let offset = 0; stream.length - offset >= 8;) {
    const [type, end] = [stream.readUInt8(offset), offset + 8 + stream.readUInt32BE(offset + 4)];
    if ((type !== 1 && type !== 2) || end - offset > 8 + 16 * 1024 * 1024) break;
    outputs[type === 1 ? 'stdout' : 'stderr'] += stream.toString('hex', offset + 8, end);
    offset = end;
  }
  return outputs;
}

/** Any bytes give output or a StdcopyError, the same however they are cut. */
export const stdcopy: FuzzTarget = {
  name: 'stdcopy',
  sources: ['docker/stdcopy.ts'],
  tokens: [0, 1, 2, 3, 4].flatMap(type => [1, 5, 0, 2 ** 24, 2 ** 24 + 1].map(length => stdcopyHeader(type, length))),
  nearlyRight: fc
    .array(
      fc.tuple(
        fc.constantFrom(1, 1, 2, 2, 3, 7),
        fc.oneof(
          fc.string({ unit: 'grapheme', maxLength: 20 }).map(text => Buffer.from(text)),
          fc.constant(Buffer.alloc(0)),
        ),
        fc.constantFrom(0, 0, 0, 0, 1),
      ),
      { maxLength: 8 },
    )
    .map(frames => frames.flatMap(([type, payload, lie]) => [stdcopyHeader(type, payload.length + lie), payload]))
    .map(parts => Buffer.concat(parts)),
  check: input => {
    const { stdout, stderr, error } = sameForEverySplit(input, demultiplex);
    assert.deepEqual({ stdout, stderr }, outputsIn(input));
    if (error === '') assert.equal(framesIn(input), 'whole', 'an error, or a cut, is not an end');
  },
};

function framesIn(stream: Buffer): 'whole' | 'broken' {
  let offset = 0;
  while (stream.length - offset >= 8) {
    if (![1, 2].includes(stream.readUInt8(offset))) return 'broken';
    offset += 8 + stream.readUInt32BE(offset + 4);
  }
  return offset === stream.length ? 'whole' : 'broken';
}
