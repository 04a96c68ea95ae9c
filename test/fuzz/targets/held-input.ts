import assert from 'node:assert/strict';
import type { InputConsumer } from '../../../src/exec/connection.ts';
import { HeldInput } from '../../../src/remotecommand/held-input.ts';
import type { FuzzTarget } from '../target.ts';

const HIGH_WATER_MARK_BYTES = 1_024;
/** Every chunk that is held counts for more than its bytes. */
const CHUNK_COST_BYTES = 256;
/** All that was received is compared after each call. */
const MAX_CALLS = 256;
const CALLS = ['push', 'push', 'push', 'push', 'end', 'consume', 'resume', 'discard'] as const;

/**
 * Each byte is a call. Whatever their order: the first consumer gets what was pushed, whole and in order, until the end or until
 * it is discarded; a transport that was told to pause is told to go on.
 */
export const heldInput: FuzzTarget = {
  name: 'held-input',
  sources: ['remotecommand/held-input.ts'],
  tokens: ['\0', '\x01', '\x1c', '\x04', '\x05', '\x06', '\x07', '\x08', '\x18'],
  check: input => {
    const pushed: number[] = [];
    const received: number[] = [];
    let [resumes, ends] = [0, 0];
    let [ended, consumed, discarded, paused] = [false, false, false, false];
    const held = new HeldInput({
      highWaterMarkBytes: HIGH_WATER_MARK_BYTES,
      onResume: () => {
        resumes += 1;
        paused = false;
      },
    });
    let lastAnswer = true;
    let heldBytes = 0;
    let refusals = 0;
    const consumer: InputConsumer = {
      data: chunk => {
        assert.ok(!discarded && ends === 0);
        received.push(...chunk);
        if (chunk.includes(13)) {
          discarded = true;
          held.discard(); // a consumer may have enough while it is being told
        }
        lastAnswer = !chunk.some(byte => byte % 5 === 0);
        if (!lastAnswer) refusals += 1;
        return lastAnswer;
      },
      end: () => {
        assert.ok(!discarded);
        ends += 1;
      },
    };
    for (const byte of input.subarray(0, MAX_CALLS)) {
      const before = resumes;
      switch (CALLS[byte % 8]) {
        case 'push': {
          const chunk = Buffer.from(Array.from({ length: (byte >> 3) % 4 }, (_, index) => pushed.length + index)); // may be empty
          if (chunk.length > 0) heldBytes += chunk.length + CHUNK_COST_BYTES;
          const alone = !consumed && !discarded;
          const reached = consumed && !discarded && !ended && chunk.length > 0;
          if (!ended) pushed.push(...chunk);
          const expected = ended || chunk.length === 0 || (alone ? heldBytes < HIGH_WATER_MARK_BYTES : undefined);
          const answer = held.push(chunk);
          assert.equal(answer, expected ?? (reached ? lastAnswer : true));
          if (!answer && !discarded) paused = true;
          break;
        }
        case 'end':
          held.end();
          ended = true;
          assert.ok(!paused);
          break;
        case 'consume': {
          const first = !consumed && !discarded;
          const refusalsBefore = refusals;
          held.consume(consumer);
          consumed ||= first;
          if (first && refusals > refusalsBefore && !ended && !discarded)
            assert.equal(resumes, before, 'a full consumer is not asked for more');
          else if (first) assert.ok(!paused, 'a consumer that wants more gets more');
          break;
        }
        case 'resume':
          held.resume();
          assert.ok(!paused);
          break;
        default:
          discarded = true;
          held.discard();
          assert.ok(!paused);
      }
      const all = pushed.map(value => value % 256);
      if (consumed && !discarded) {
        assert.deepEqual(received, all);
        assert.equal(ends, ended ? 1 : 0);
      } else assert.deepEqual(received, all.slice(0, received.length));
    }
  },
};
