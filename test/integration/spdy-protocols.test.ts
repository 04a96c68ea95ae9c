import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Daemon } from '../support/daemon.ts';
import { dialSpdy, execOverSpdy, type ExecOverSpdyOptions } from '../support/spdy-client.ts';
import { serveWeb } from '../support/served.ts';

// What holds over every transport is in conformance/; this is about SPDY's own frames and streams.

const served = serveWeb();

function execPath(command: readonly string[], streams: string): string {
  return `/exec/default/web/app?${command.map(argument => `command=${encodeURIComponent(argument)}`).join('&')}&${streams}`;
}

test('a stream of a type that nobody knows is answered, and does not stand for one that was promised', async () => {
  const { client } = await dialSpdy({
    port: served.daemon.port,
    path: execPath(['echo', 'hi'], 'output=1'),
    protocols: ['v4.channel.k8s.io'],
  });
  assert.ok(client !== undefined);
  const unknown = await client.open({ streamtype: 'nonsense' });
  const error = await client.open({ streamtype: 'error' });
  await unknown.write('nonsense');
  unknown.end();
  const stdout = await client.open({ streamtype: 'stdout' });
  assert.equal((await stdout.ended()).toString(), 'hi\n');
  assert.equal((await error.ended()).toString(), '{"metadata":{},"status":"Success"}');
  client.destroy();
});

test('a stream that comes twice, or after the end of the session, is refused, and harms nothing', async () => {
  const { client } = await dialSpdy({
    port: served.daemon.port,
    path: execPath(['cat'], 'input=1&output=1'),
    protocols: ['v4.channel.k8s.io'],
  });
  assert.ok(client !== undefined);
  const error = await client.open({ streamtype: 'error' });
  const stdin = await client.open({ streamtype: 'stdin' });
  const again = await client.openUnanswered({ streamtype: 'stdin' });
  const stdout = await client.open({ streamtype: 'stdout' });
  assert.equal(again.resetStatus, 3);
  const late = await client.openUnanswered({ streamtype: 'stdout' });
  await stdin.write('hello');
  stdin.end();
  assert.equal((await stdout.ended()).toString(), 'hello');
  assert.equal(late.resetStatus, 3);
  assert.equal((await error.ended()).toString(), '{"metadata":{},"status":"Success"}');
  const afterTheEnd = await client.openUnanswered({ streamtype: 'stdin' });
  await client.until(() => afterTheEnd.over);
  assert.equal(afterTheEnd.resetStatus, 3);
  client.destroy();
});

test('input that was not asked for is read and dropped', async () => {
  const { client } = await dialSpdy({
    port: served.daemon.port,
    path: execPath(['sleep', '1000'], 'output=1'),
    protocols: ['v4.channel.k8s.io'],
  });
  assert.ok(client !== undefined);
  await client.open({ streamtype: 'error' });
  const stdin = await client.open({ streamtype: 'stdin' });
  await client.open({ streamtype: 'stdout' });
  await stdin.write(Buffer.alloc(2_000_000));
  assert.ok(await client.ping(), 'the connection is read to the end of what was sent');
  client.destroy();
});

test('after the end of its input the connection is read on, however full the command is', async () => {
  for (const bytes of [300_000, 500_000, 600_000, 1_000_000]) {
    const { client } = await dialSpdy({
      port: served.daemon.port,
      path: execPath(['sh', '-c', 'sleep 0.5; cat | wc -c; sleep 1000'], 'input=1&output=1'),
      protocols: ['v4.channel.k8s.io'],
    });
    assert.ok(client !== undefined);
    await client.open({ streamtype: 'error' });
    const stdin = await client.open({ streamtype: 'stdin' });
    const stdout = await client.open({ streamtype: 'stdout' });
    const sent = stdin.write(Buffer.alloc(bytes)).then(() => stdin.end());
    assert.equal((await stdout.receivedBytes(String(bytes).length)).toString().trim(), String(bytes));
    await sent;
    assert.ok(await client.ping());
    client.destroy();
  }
});

test('all three ways of saying that the upgrade request has no body are accepted', async () => {
  const bodies: ExecOverSpdyOptions['headers'][] = [[['Content-Length', '0']], [['Transfer-Encoding', 'chunked']]];
  for (const headers of bodies) {
    const behind = headers?.[0]?.[0] === 'Transfer-Encoding' ? Buffer.from('0\r\n\r\n') : Buffer.alloc(0);
    const options = {
      port: served.daemon.port,
      path: execPath(['echo', 'hi'], 'output=1'),
      protocols: ['v4.channel.k8s.io'],
    };
    const { stdout } = await execOverSpdy({ ...options, stderr: false, ...(headers && { headers }), behind });
    assert.equal(stdout.toString(), 'hi\n');
  }
  const { status, body } = await dialSpdy({
    port: served.daemon.port,
    path: execPath(['echo', 'hi'], 'output=1'),
    protocols: ['v4.channel.k8s.io'],
    headers: [['Transfer-Encoding', 'chunked']],
    behind: Buffer.from('5\r\nhello\r\n0\r\n\r\n'),
  });
  assert.deepEqual([status, body], [400, 'an upgrade request may not have a body']);
});

test('a client that does not open its streams in time is told which are missing, and let go', async () => {
  const impatient = await Daemon.start({ engine: served.engine, args: ['--stream-creation-timeout', '200ms'] });
  const { client } = await dialSpdy({
    port: impatient.port,
    path: execPath(['echo', 'hi'], 'output=1&error=1'),
    protocols: ['v4.channel.k8s.io'],
  });
  assert.ok(client !== undefined);
  const error = await client.open({ streamtype: 'error' });
  const status = JSON.parse((await error.ended()).toString()) as { status: string; message: string };
  assert.equal(status.status, 'Failure');
  assert.match(status.message, /timed out waiting for the client to create streams, missing: stdout, stderr/);
  client.destroy();
  await impatient.stop();
});
