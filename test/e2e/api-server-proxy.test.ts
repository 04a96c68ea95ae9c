import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { startApiServerProxy, type ApiServerProxy } from '../support/api-server-proxy.ts';
import { oneKubectlPerTransport } from '../support/one-kubectl-per-transport.ts';
import { serveWeb } from '../support/served.ts';

const clients = await oneKubectlPerTransport();

let proxy: ApiServerProxy;
const served = serveWeb({
  afterDaemon: async ({ port }) => {
    proxy = await startApiServerProxy({ daemonPort: port });
  },
});
after(() => proxy.close());

for (const { kubectl, transport } of clients) {
  describe(`${kubectl.name} over ${transport} through an API server's proxy`, () => {
    async function run(args: readonly string[], stdin?: string) {
      const before = served.daemon.sessionsEnded().length;
      const forwarded = proxy.forwarded.length;
      const client = await kubectl.against({ server: proxy.url, transport });
      const result = await client.run(args, stdin === undefined ? {} : { stdin });
      await served.daemon.waitForSessionsEnded(before + 1);
      assert.equal(served.daemon.sessionsEnded().at(-1)?.transport, transport);
      // The node was asked in the kubelet's form, by the method of the transport.
      assert.match(
        proxy.forwarded[forwarded] ?? '',
        transport === 'spdy' ? /^POST \/exec\/default\/web\/app\?/ : /^GET \/exec\/default\/web\/app\?/,
      );
      return { ...result, stdout: result.stdout.toString() };
    }

    test('output, exit code and input', async () => {
      assert.equal((await run(['exec', 'web', '--', 'echo', 'hi'])).stdout, 'hi\n');
      assert.equal((await run(['exec', 'web', '--', 'sh', '-c', 'exit 42'])).exitCode, 42);
      assert.equal((await run(['exec', '-i', 'web', '--', 'cat'], 'abcd1234')).stdout, 'abcd1234');
    });

    test('large output arrives whole although the proxy ends the session when either side ends', async () => {
      const { stdout, exitCode } = await run([
        'exec',
        'web',
        '--',
        'sh',
        '-c',
        'head -c 5000000 /dev/zero | tr "\\0" x; exit 9',
      ]);
      assert.equal(exitCode, 9);
      assert.equal(stdout.length, 5_000_000);
    });

    test('a command that does not exist', async () => {
      const { exitCode, stderr } = await run(['exec', 'web', '--', 'no-such-command']);
      assert.equal(exitCode, 1);
      assert.match(stderr, /error executing command in container/);
    });
  });
}
