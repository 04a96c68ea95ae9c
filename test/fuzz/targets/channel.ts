import assert from 'node:assert/strict';
import {
  CLOSE_CHANNEL,
  decodeBase64,
  decodeBinary,
  encodeBase64,
  encodeBinary,
} from '../../../src/remotecommand/channel.ts';
import type { FuzzTarget } from '../target.ts';

/** Any message means something, and what it means is what it says. */
export const channel: FuzzTarget = {
  name: 'channel',
  sources: ['remotecommand/channel.ts'],
  tokens: [
    '\0',
    '\x01',
    '\x04',
    '\x05',
    Buffer.from([255]),
    Buffer.from([255, 0]),
    '0',
    '4',
    '9',
    'aGk=',
    'aGVsbG8h',
    '=',
  ],
  check: input => {
    for (const closeSignal of [false, true]) {
      const message = decodeBinary(input, { closeSignal });
      switch (message.kind) {
        case 'data':
          assert.deepEqual(encodeBinary(message.channel, message.payload), input);
          break;
        case 'close':
          assert.deepEqual([closeSignal, CLOSE_CHANNEL, message.channel], [true, ...input]);
          break;
        case 'malformed':
          assert.ok(closeSignal && input[0] === CLOSE_CHANNEL && (input.length !== 2 || Number(input[1]) > 4));
          break;
        case 'ignored':
          assert.ok(input.length === 0 || Number(input[0]) > 4);
          assert.ok(!(closeSignal && input[0] === CLOSE_CHANNEL));
      }
    }
    checkBase64(input);
  },
};

function checkBase64(input: Buffer): void {
  const message = decodeBase64(input);
  const text = input.toString('latin1', 1);
  switch (message.kind) {
    case 'data': {
      const again = encodeBase64(message.channel, message.payload);
      // All but the bits that the last character has over, which Go does not look at either.
      assert.equal(again.length, input.length);
      assert.equal(again.slice(0, -3), input.toString('latin1').slice(0, -3));
      assert.deepEqual(decodeBase64(Buffer.from(again)), message);
      break;
    }
    case 'malformed':
      assert.ok(text.length % 4 !== 0 || /[^A-Za-z0-9+/=]|=[^=]|===/.test(text));
      break;
    case 'ignored':
      assert.doesNotMatch(input.toString('latin1'), /^[0-4]/);
      break;
    case 'close':
      assert.fail('a base64 subprotocol has no CLOSE');
  }
}
