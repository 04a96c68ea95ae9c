import assert from 'node:assert/strict';
import fc from 'fast-check';
import { TerminalSizeDecoder, TerminalSizes } from '../../../src/remotecommand/terminal-size.ts';
import { sameForEverySplit, type FuzzTarget } from '../target.ts';

const PROBE = Buffer.from('\n{"Width":7,"Height":7}');
/** A single message that is longer is not read at all. */
const MAX_CHUNK_BYTES = 64 * 1024;

/** Any bytes give a size of a terminal or none, and the same however they are cut; so does what follows them. */
export const terminalSize: FuzzTarget = {
  name: 'terminal-size',
  sources: ['remotecommand/terminal-size.ts'],
  tokens: [
    '{',
    '}',
    '{"Width":',
    ',"Height":',
    '"width"',
    '80',
    '65536',
    '0',
    '-1',
    '1e2',
    '\n',
    ' ',
    '{"Width":80,"Height":24}',
  ],
  nearlyRight: fc
    .array(
      fc
        .tuple(fc.constantFrom('Width', 'width', 'x'), fc.oneof(fc.nat({ max: 70_000 }), fc.float(), fc.string()))
        .chain(([key, value]) =>
          fc
            .nat({ max: 1100 })
            .map(spaces => JSON.stringify({ Height: 24, [key]: value }).replace(',', `,${' '.repeat(spaces)}`)),
        ),
      { maxLength: 5 },
    )
    .map(objects => objects.join('')),
  check: input => {
    if (input.length > MAX_CHUNK_BYTES) return;
    sameForEverySplit(input, chunks => {
      const decoder = new TerminalSizeDecoder();
      const sizes = new TerminalSizes();
      for (const chunk of chunks) sizes.push(chunk);
      const newest = chunks.map(chunk => decoder.push(chunk)).findLast(size => size !== undefined);
      for (const cells of Object.values(newest ?? {}))
        assert.ok(Number.isInteger(cells) && cells >= 1 && cells <= 0xffff);
      let consumed: unknown;
      sizes.consume(size => (consumed = size));
      assert.deepEqual(consumed, newest);
      return { newest, afterwards: decoder.push(PROBE) };
    });
  },
};
