import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from 'node:tls';
import { writeServerCertificate } from '../support/certificates.ts';
import { CHECKOUT } from '../support/checkout.ts';
import { temporaryDirectory } from '../support/cleanup.ts';
import { runCommand } from '../support/command.ts';
import { oneKubectlPerTransport } from '../support/one-kubectl-per-transport.ts';
import { serveWeb } from '../support/served.ts';

const clients = await oneKubectlPerTransport();

const { path: directory } = await temporaryDirectory('tls');
const { certFile, keyFile } = await writeServerCertificate(directory);
const served = serveWeb({ args: ['--tls-cert-file', certFile, '--tls-private-key-file', keyFile] });
const server = (): string => `https://127.0.0.1:${served.daemon.port}`;

for (const { kubectl, transport } of clients) {
  test(`${kubectl.name} over ${transport} and TLS: output, input, exit code, 20 MB each way`, async () => {
    const client = await kubectl.against({ server: server(), transport });
    const exec = async (args: readonly string[], stdin?: Buffer) =>
      // Without a credential kubectl asks for a user name before it speaks TLS.
      client.run(
        ['--certificate-authority', certFile, '--token', 'unused', 'exec', ...args],
        stdin === undefined ? {} : { stdin },
      );
    assert.equal((await exec(['web', '--', 'echo', 'hi'])).stdout.toString(), 'hi\n');
    assert.equal((await exec(['web', '--', 'sh', '-c', 'exit 42'])).exitCode, 42);
    const big = Buffer.alloc(20_000_000, 'x');
    assert.equal((await exec(['-i', 'web', '--', 'wc', '-c'], big)).stdout.toString(), '20000000\n');
    const out = await exec(['web', '--', 'sh', '-c', 'head -c 20000000 /dev/zero']);
    assert.equal(out.stdout.length, 20_000_000);
    assert.equal(served.daemon.sessionsEnded().at(-1)?.transport, transport);
  });
}

test('execlet exec over TLS trusts the given authority, and nothing else', async () => {
  const exec = async (...flags: string[]) =>
    runCommand(process.execPath, [
      join(CHECKOUT, 'src/main.ts'),
      'exec',
      '--server',
      server(),
      ...flags,
      'web',
      '--',
      'echo',
      'hi',
    ]);
  const trusted = await exec('--certificate-authority', certFile);
  assert.deepEqual([trusted.exitCode, trusted.stdout.toString()], [0, 'hi\n'], trusted.stderr);
  const untrusted = await exec();
  assert.equal(untrusted.exitCode, 1);
  assert.match(untrusted.stderr, /certificate/);
});

test('HTTP/2 is not offered', async () => {
  const socket = connect({
    port: served.daemon.port,
    host: '127.0.0.1',
    ALPNProtocols: ['h2', 'http/1.1'],
    rejectUnauthorized: false,
  });
  const protocol = await new Promise(resolve => socket.once('secureConnect', () => resolve(socket.alpnProtocol)));
  socket.destroy();
  assert.equal(protocol, 'http/1.1');
});
