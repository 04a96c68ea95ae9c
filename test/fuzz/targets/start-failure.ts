import assert from 'node:assert/strict';
import { START_FAILURES, StartFailureGuard } from '../../../src/docker/start-failure.ts';
import { sameForEverySplit, type FuzzTarget } from '../target.ts';

const MAX_HELD_BYTES = 16 * 1024;

/** Output reaches the client whole and in order, however it is cut, and is held back only while it looks like the message. */
export const startFailure: FuzzTarget = {
  name: 'start-failure',
  sources: ['docker/start-failure.ts'],
  tokens: [
    ...START_FAILURES,
    'OCI',
    ' runtime',
    ' exec failed:',
    'cannot exec',
    'stopped state: unknown',
    ' ',
    'O',
    'exec: "nope": executable file not found\r\n',
    'x'.repeat(9_000),
  ],
  check: input => {
    const { delivered, text } = sameForEverySplit(input, chunks => {
      let delivered = Buffer.alloc(0);
      let suspicions = 0;
      const client = { write: (chunk: Buffer) => (delivered = Buffer.concat([delivered, chunk])).length >= 0 };
      const guard = new StartFailureGuard({ client, onSuspicion: () => (suspicions += 1) });
      for (const chunk of chunks) guard.write(chunk);
      const before = { delivered, text: guard.text, suspected: guard.suspected };
      assert.ok(suspicions <= 1 && (suspicions === 1 || !guard.suspected), 'who holds asks once');
      guard.release();
      assert.deepEqual(delivered, input, 'nothing is lost, doubled or reordered');
      guard.write(input);
      assert.equal(delivered.length, 2 * input.length, 'after that it only passes on');
      return before;
    });
    const said = input.toString('latin1');
    const alike = START_FAILURES.some(beginning => said.startsWith(beginning) || beginning.startsWith(said));
    const held = alike && input.length <= MAX_HELD_BYTES;
    assert.deepEqual(delivered, held ? Buffer.alloc(0) : input);
    assert.equal(text, held ? input.toString().trim() : '');
  },
};
