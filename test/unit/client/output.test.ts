import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { print } from '../../../src/client/output.ts';

test('printing again and again on a stream adds no listeners to it', async () => {
  const stream = new PassThrough();
  stream.resume();
  await print('first\n', stream);
  const count = (): number[] => [stream.listenerCount('error'), stream.listenerCount('drain')];
  const afterFirst = count();
  for (let line = 0; line < 20; line += 1) await print('another\n', stream);
  assert.deepEqual(count(), afterFirst);
});
