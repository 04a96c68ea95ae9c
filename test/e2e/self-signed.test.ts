import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Credentials } from '../support/access.ts';
import { CHECKOUT } from '../support/checkout.ts';
import { runCommand } from '../support/command.ts';
import { Daemon } from '../support/daemon.ts';
import { oneKubectlPerTransport } from '../support/one-kubectl-per-transport.ts';
import { serveWeb } from '../support/served.ts';

const clients = await oneKubectlPerTransport();
const credentials = await Credentials.make('self-signed');
const certDir = join(credentials.directory, 'pki');
const args = [
  ...['--address', '0.0.0.0', '--cert-dir', certDir],
  ...(await credentials.tokens(['the-token,alice,1'])),
  ...(await credentials.rules('rules: [{ users: [alice], verbs: [exec, get] }]\n')),
];
const served = serveWeb({ args });
let second: Daemon | undefined;
after(async () => second?.stop());

test('on every address, without a certificate, execlet makes one that execlet kubeconfig hands on', async () => {
  const warning = await served.daemon.waitForLog(({ message }) => message.startsWith('serving a self-signed'));
  assert.equal(warning.certDir, certDir);
  const printed = await runCommand(process.execPath, [
    ...[join(CHECKOUT, 'src', 'main.ts'), 'kubeconfig', '--server', `https://127.0.0.1:${served.daemon.port}`],
    ...['--cert-dir', certDir, '--token', 'the-token'],
  ]);
  assert.deepEqual([printed.exitCode, printed.stderr], [0, '']);
  const file = await credentials.file('alice.yaml', printed.stdout.toString());
  for (const { kubectl, transport } of clients) {
    const client = await kubectl.against({ server: `https://127.0.0.1:${served.daemon.port}`, transport });
    const { stdout, stderr } = await client.run(['--kubeconfig', file, 'exec', 'web', '--', 'echo', 'hi']);
    assert.equal(stdout.toString(), 'hi\n', stderr);
  }
  const own = await runCommand(process.execPath, [
    ...[join(CHECKOUT, 'src', 'main.ts'), 'exec', '--kubeconfig', file, 'web', '--', 'echo', 'hi'],
  ]);
  assert.deepEqual([own.stdout.toString(), own.stderr], ['hi\n', '']);
});

test('it is kept for the next start', async () => {
  second = await Daemon.start({ engine: served.engine, args });
  const fingerprintOf = async (daemon: Daemon): Promise<unknown> =>
    (await daemon.waitForLog(({ fingerprint }) => fingerprint !== undefined)).fingerprint;
  assert.equal(await fingerprintOf(second), await fingerprintOf(served.daemon));
});

test('without a way to know callers it does not start there, and makes no certificate', async () => {
  const nowhere = join(credentials.directory, 'nowhere');
  const start = Daemon.start({ engine: served.engine, args: ['--address', '0.0.0.0', '--cert-dir', nowhere] });
  await assert.rejects(start, /exit code 2\n.*\nexeclet: --address: 0\.0\.0\.0 is not a loopback address/s);
  assert.equal(existsSync(nowhere), false);
});

test('a directory that cannot be written is one line that says what would help', async () => {
  const impossible = ['--address', '0.0.0.0', '--cert-dir', '/proc/execlet', ...args.slice(4)];
  await assert.rejects(
    Daemon.start({ engine: served.engine, args: impossible }),
    /exit code 2\n.*\nexeclet: --cert-dir: cannot keep a self-signed certificate in \/proc\/execlet .*--tls-cert-file/s,
  );
});
