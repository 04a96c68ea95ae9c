import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { execOverWebSocket, type WebSocketExec } from '../support/websocket-client.ts';
import { serveWeb } from '../support/served.ts';

const PROTOCOLS = [
  { protocol: '', offer: [], json: false, eof: false },
  { protocol: 'channel.k8s.io', offer: ['channel.k8s.io'], json: false, eof: false },
  { protocol: 'base64.channel.k8s.io', offer: ['base64.channel.k8s.io'], json: false, eof: false },
  { protocol: 'v4.channel.k8s.io', offer: ['v4.channel.k8s.io'], json: true, eof: false },
  { protocol: 'v4.base64.channel.k8s.io', offer: ['v4.base64.channel.k8s.io'], json: true, eof: false },
  { protocol: 'v5.channel.k8s.io', offer: ['v5.channel.k8s.io'], json: true, eof: true },
];

const served = serveWeb();

for (const { protocol, offer, json, eof } of PROTOCOLS) {
  describe(`WebSocket ${protocol === '' ? 'without a subprotocol' : protocol}`, () => {
    async function exec(command: readonly string[], streams: string, stdin?: Buffer): Promise<WebSocketExec> {
      const query = command.map(argument => `command=${encodeURIComponent(argument)}`).join('&');
      const url = `ws://127.0.0.1:${served.daemon.port}/exec/default/web/app?${query}&${streams}`;
      const result = await execOverWebSocket({ url, protocols: offer, ...(stdin !== undefined && { stdin }) });
      assert.equal(result.protocol, protocol);
      assert.equal(result.closeCode, 1000);
      return result;
    }

    test('output, error output, the message that says the connection is up, and success', async () => {
      const result = await exec(['sh', '-c', 'echo out; echo err >&2'], 'output=1&error=1');
      assert.deepEqual(result.messages[0], { channel: 1, bytes: 0 });
      assert.equal(result.stdout.toString(), 'out\n');
      assert.equal(result.stderr.toString(), 'err\n');
      assert.equal(result.status, json ? '{"metadata":{},"status":"Success"}' : '');
      const others = result.messages.filter(({ channel, bytes }) => bytes > 0 && ![1, 2, 3].includes(channel));
      assert.deepEqual(others, []);
    });

    test('only what was asked for is sent', async () => {
      const result = await exec(['sh', '-c', 'echo out; echo err >&2'], 'error=1');
      assert.deepEqual(result.messages[0], { channel: 2, bytes: 0 });
      assert.equal(result.stdout.length, 0);
      assert.equal(result.stderr.toString(), 'err\n');
    });

    test('the exit code', async () => {
      const { status } = await exec(['sh', '-c', 'exit 3'], 'output=1');
      const text = 'command terminated with non-zero exit code: exit status 3';
      if (!json) assert.equal(status, text);
      else {
        assert.equal(
          status,
          `{"metadata":{},"status":"Failure","message":"${text}","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}`,
        );
      }
    });

    test('random input comes back byte for byte', async () => {
      const stdin = randomBytes(3_000_001);
      // Before v5 a client cannot end its input, so the command must know when it has read enough.
      const command = eof ? ['cat'] : ['head', '-c', String(stdin.length)];
      const { stdout } = await exec(command, 'input=1&output=1', stdin);
      assert.equal(stdout.length, stdin.length);
      assert.ok(stdout.equals(stdin));
    });

    test('a command that never started is a failure that says so', async () => {
      const { status, stdout } = await exec(['/no/such/command'], 'output=1');
      assert.match(status, /error executing command in container: .*\/no\/such\/command/);
      assert.equal(stdout.length, 0);
    });
  });
}

test('a terminal has the size that the client sent', async () => {
  const command = ['sh', '-c', 'until [ "$(stty size 2>/dev/null)" = "31 97" ]; do sleep 0.05; done; stty size'];
  const query = command.map(argument => `command=${encodeURIComponent(argument)}`).join('&');
  const url = `ws://127.0.0.1:${served.daemon.port}/exec/default/web/app?${query}&input=1&output=1&error=1&tty=1`;
  const { stdout, stderr } = await execOverWebSocket({
    url,
    protocols: ['v4.channel.k8s.io'],
    sizes: [
      { Width: 10, Height: 10 },
      { Width: 97, Height: 31 },
    ],
  });
  assert.equal(stdout.toString(), '31 97\r\n');
  assert.equal(stderr.length, 0);
});
