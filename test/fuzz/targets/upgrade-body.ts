import assert from 'node:assert/strict';
import { IncomingMessage } from 'node:http';
import { PassThrough } from 'node:stream';
import { Socket } from 'node:net';
import { ExecletError } from '../../../src/errors.ts';
import { bodyOfUpgrade } from '../../../src/server/upgrade-body.ts';
import { splitsOf, type FuzzTarget } from '../target.ts';

const EMPTY_BODY = '0\r\n\r\n';

/** All that is left behind an empty chunked body, or undefined where the request is refused. */
async function behindBody([head, ...later]: readonly Buffer[]): Promise<Buffer | undefined> {
  const request = new IncomingMessage(new Socket());
  request.headers = { 'transfer-encoding': 'chunked' };
  const socket = new PassThrough();
  const body = bodyOfUpgrade(request, socket, head ?? Buffer.alloc(0));
  for (const chunk of later) socket.write(chunk);
  socket.end();
  socket.once('end', () => socket.destroy()); // the peer left: nothing more will come
  try {
    const behind = [await body];
    for await (const chunk of socket) if (Buffer.isBuffer(chunk)) behind.push(chunk);
    return Buffer.concat(behind);
  } catch (error) {
    if (error instanceof ExecletError && error.code === 'BadExecRequest') return undefined;
    throw error;
  } finally {
    socket.destroy();
  }
}

/** What follows an upgrade request: its empty body is taken off, another refused, however it arrives. */
export const upgradeBody: FuzzTarget = {
  name: 'upgrade-body',
  sources: ['server/upgrade-body.ts'],
  tokens: [EMPTY_BODY, '0', '\r\n', '5\r\nhello\r\n', '80030001'],
  check: async input => {
    const expected = input.toString('latin1').startsWith(EMPTY_BODY) ? input.subarray(EMPTY_BODY.length) : undefined;
    for (const chunks of splitsOf(input.subarray(0, 256))) {
      assert.deepEqual(await behindBody(chunks), expected?.subarray(0, 256 - EMPTY_BODY.length));
    }
  },
};
