import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { Daemon } from '../support/daemon.ts';
import { dialSpdy, execOverSpdy, type ExecOverSpdyOptions, type ExecOverSpdyResult } from '../support/spdy-client.ts';
import { serveWeb } from '../support/served.ts';

const PROTOCOLS = [
  { protocol: 'v4.channel.k8s.io', json: true, resize: true },
  { protocol: 'v3.channel.k8s.io', json: false, resize: true },
  { protocol: 'v2.channel.k8s.io', json: false, resize: false },
  { protocol: 'channel.k8s.io', json: false, resize: false },
];

const served = serveWeb();

function execPath(command: readonly string[], streams: string): string {
  return `/exec/default/web/app?${command.map(argument => `command=${encodeURIComponent(argument)}`).join('&')}&${streams}`;
}

for (const { protocol, json, resize } of PROTOCOLS) {
  describe(`SPDY ${protocol}`, () => {
    async function exec(
      command: readonly string[],
      streams: string,
      options: Partial<ExecOverSpdyOptions> = {},
    ): Promise<ExecOverSpdyResult> {
      const path = execPath(command, streams);
      const result = await execOverSpdy({ port: served.daemon.port, path, protocols: [protocol], ...options });
      assert.equal(result.protocol, protocol);
      assert.ok(result.complete, 'every stream is ended by a frame, not by the end of the connection');
      return result;
    }

    test('output, error output and success', async () => {
      const { stdout, stderr, errorStream } = await exec(['sh', '-c', 'echo out; echo err >&2'], 'output=1&error=1');
      assert.equal(stdout.toString(), 'out\n');
      assert.equal(stderr.toString(), 'err\n');
      assert.equal(errorStream, json ? '{"metadata":{},"status":"Success"}' : '');
    });

    test('the exit code', async () => {
      const { errorStream } = await exec(['sh', '-c', 'exit 3'], 'output=1', { stderr: false });
      const message = 'command terminated with non-zero exit code: exit status 3';
      const details = { causes: [{ reason: 'ExitCode', message: '3' }] };
      const status = { metadata: {}, status: 'Failure', message, reason: 'NonZeroExitCode', details };
      if (json) assert.deepEqual(JSON.parse(errorStream), status);
      else assert.equal(errorStream, message);
    });

    test('random input comes back byte for byte, and its end reaches the command', async () => {
      const stdin = randomBytes(3_000_001);
      const { stdout } = await exec(['cat'], 'input=1&output=1', { stdin, stderr: false });
      assert.equal(stdout.length, stdin.length);
      assert.ok(stdout.equals(stdin));
    });

    test('input that nobody reads does not cost the output', async () => {
      const { stdout } = await exec(['head', '-c', '5'], 'input=1&output=1', {
        stdin: Buffer.alloc(3_000_000, 'x'),
        stderr: false,
      });
      assert.equal(stdout.toString(), 'xxxxx');
    });

    test('a command that never started is a failure that says so', async () => {
      const { errorStream, stdout } = await exec(['/no/such/command'], 'output=1', { stderr: false });
      assert.match(errorStream, /error executing command in container: .*\/no\/such\/command/);
      assert.equal(stdout.length, 0);
    });

    test('a terminal, whose resize stream exists from v3 on', async () => {
      const waits = 'until [ "$(stty size 2>/dev/null)" = "31 97" ]; do sleep 0.05; done; stty size';
      const command = resize ? ['sh', '-c', waits] : ['sh', '-c', 'tty'];
      const { stdout } = await exec(command, 'input=1&output=1&error=1&tty=1', {
        stdin: '',
        tty: true,
        size: { width: 97, height: 31 },
      });
      assert.match(stdout.toString(), resize ? /^31 97\r\n$/ : /^\/dev\/pts\/\d+\r\n$/);
    });
  });
}

test('each stream is answered before the next is opened, PINGs are echoed, and the 101 names the version once', async () => {
  const upgrade = await dialSpdy({
    port: served.daemon.port,
    path: execPath(['cat'], 'input=1&output=1'),
    protocols: ['v5.channel.k8s.io', 'v4.channel.k8s.io', 'v3.channel.k8s.io'],
  });
  assert.equal(upgrade.status, 101);
  assert.deepEqual(
    upgrade.headers.filter(([name]) => name === 'x-stream-protocol-version'),
    [['x-stream-protocol-version', 'v4.channel.k8s.io']],
  );
  const { client } = upgrade;
  assert.ok(client !== undefined);
  const error = await client.open({ streamtype: 'error' });
  assert.ok(await client.ping());
  const stdin = await client.open({ streamtype: 'stdin' });
  const stdout = await client.open({ streamtype: 'stdout' });
  await stdin.write('hello');
  assert.equal((await stdout.receivedBytes(5)).toString(), 'hello');
  assert.ok(await client.ping());
  stdin.end();
  assert.equal((await error.ended()).toString(), '{"metadata":{},"status":"Success"}');
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
