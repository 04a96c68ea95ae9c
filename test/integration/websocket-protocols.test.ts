import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serveWeb } from '../support/served.ts';
import { WebSocketClient } from '../support/websocket-client.ts';

// What holds over every transport is in conformance/; this is about WebSocket's own messages.

const served = serveWeb();

async function cat(protocol: string): Promise<WebSocketClient> {
  const url = `ws://127.0.0.1:${served.daemon.port}/exec/default/web/app?command=cat&input=1&output=1`;
  return WebSocketClient.open({ url, protocols: [protocol] });
}

test('a text message is taken as its bytes, in a binary subprotocol too', async () => {
  const client = await cat('v5.channel.k8s.io');
  await client.raw('\u0000hello');
  await client.closeChannel(0);
  assert.equal(await client.closed, 1000);
  assert.equal(client.received(1).toString(), 'hello');
});

test('CLOSE of a channel that is no input changes nothing', async () => {
  const client = await cat('v5.channel.k8s.io');
  await client.closeChannel(1);
  await client.closeChannel(4);
  await client.send(0, Buffer.from('hello'));
  await client.closeChannel(0);
  assert.equal(await client.closed, 1000);
  assert.equal(client.received(1).toString(), 'hello');
});

for (const { protocol, what, message } of [
  { protocol: 'v5.channel.k8s.io', what: 'a CLOSE of no channel', message: Buffer.from([255]) },
  { protocol: 'v5.channel.k8s.io', what: 'a CLOSE of channel 9', message: Buffer.from([255, 9]) },
  { protocol: 'v4.base64.channel.k8s.io', what: 'what is not base64', message: '0-' },
]) {
  test(`${protocol}: ${what} ends the session as a failure that says so`, async () => {
    const client = await cat(protocol);
    await client.raw(message);
    await client.closed;
    assert.match(client.received(3).toString(), /"status":"Failure".*malformed/);
    assert.equal((await served.daemon.waitForSessionsEnded(1)).at(-1)?.reason, 'protocol_error');
  });
}
