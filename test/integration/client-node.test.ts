import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { PassThrough, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { Exec, KubeConfig, type V1Status } from '@kubernetes/client-node';
import { serveWeb } from '../support/served.ts';

const served = serveWeb();

interface Result {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly status: V1Status;
}

async function exec(command: string[], stdin?: Buffer): Promise<Result> {
  const config = new KubeConfig();
  // The library speaks plain HTTP only to those who waive the verification that plain HTTP cannot give.
  config.loadFromClusterAndUser(
    { name: 'execlet', server: served.daemon.url, skipTLSVerify: true },
    { name: 'nobody' },
  );
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const outputs = Promise.all([buffer(stdout), buffer(stderr)]);
  const input = stdin === undefined ? null : Readable.from([stdin]);
  const status = await new Promise<V1Status>((resolve, reject) => {
    new Exec(config).exec('default', 'web', 'app', command, stdout, stderr, input, false, resolve).catch(reject);
  });
  stdout.end();
  stderr.end();
  const [out, err] = await outputs;
  return { stdout: out, stderr: err, status };
}

test("client-node's Exec sees output, error output and success", async () => {
  const { stdout, stderr, status } = await exec(['sh', '-c', 'echo out; echo err >&2']);
  assert.equal(stdout.toString(), 'out\n');
  assert.equal(stderr.toString(), 'err\n');
  assert.equal(status.status, 'Success');
});

test("client-node's Exec sees the exit code", async () => {
  const { status } = await exec(['sh', '-c', 'exit 42']);
  assert.equal(status.reason, 'NonZeroExitCode');
  assert.deepEqual(status.details?.causes, [{ reason: 'ExitCode', message: '42' }]);
});

test("client-node's Exec sends input that comes back byte for byte", async () => {
  const stdin = randomBytes(1_000_000);
  const { stdout, status } = await exec(['head', '-c', String(stdin.length)], stdin);
  assert.equal(status.status, 'Success');
  assert.ok(stdout.equals(stdin), `${stdout.length} bytes of ${stdin.length}`);
});

test("client-node's Exec sees a failure for a command that does not exist", async () => {
  const { status } = await exec(['no-such-command']);
  assert.equal(status.status, 'Failure');
  assert.match(status.message ?? '', /error executing command in container/);
});
