import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { test } from 'node:test';
import { startFailure } from '../../../src/commands/serve.ts';
import { loadSettings } from '../../../src/config/load.ts';
import { Daemon } from '../../support/daemon.ts';
import { execlet, preloading } from './execlet.ts';

const NO_ENGINE = { dockerHost: 'unix:///nonexistent/docker.sock' };

test('prints one ready line and waits for an Engine that does not answer; SIGTERM ends it with 0', async () => {
  const daemon = await Daemon.start({ engine: NO_ENGINE });
  const [live, ready] = await Promise.all([fetch(`${daemon.url}/livez`), fetch(`${daemon.url}/readyz`)]);
  assert.deepEqual([live.status, ready.status], [200, 503]);
  await daemon.stop(0);
  assert.ok(daemon.log.some(({ message, signal }) => message === 'stopping' && signal === 'SIGTERM'));
});

test('SIGINT ends it with 0 as well', async () => {
  const daemon = await Daemon.start({ engine: NO_ENGINE });
  process.kill(daemon.pid, 'SIGINT');
  assert.equal(await daemon.exited, 0);
});

test('a second signal ends it at once, with 1', async () => {
  const daemon = await Daemon.start({ engine: NO_ENGINE });
  process.kill(daemon.pid, 'SIGSTOP'); // so that both signals are there before either is looked at
  process.kill(daemon.pid, 'SIGTERM');
  process.kill(daemon.pid, 'SIGINT');
  process.kill(daemon.pid, 'SIGCONT');
  assert.equal(await daemon.exited, 1);
});

test('an exception that nobody caught is logged, and the exit code is 1', async () => {
  const env = preloading(`process.on('SIGUSR2', () => { throw new Error('a bug'); })`);
  const daemon = await Daemon.start({ engine: NO_ENGINE, env });
  process.kill(daemon.pid, 'SIGUSR2');
  assert.equal(await daemon.exited, 1);
  const { level, error } = await daemon.waitForLog(({ message }) => message === 'uncaught exception');
  assert.equal(level, 'error');
  assert.match(String(error), /^Error: a bug\n/);
});

test('the log can be read by people', async () => {
  const daemon = await Daemon.start({ engine: NO_ENGINE, args: ['--log-format', 'text', '--log-level', 'error'] });
  await daemon.stop(0);
  assert.match(daemon.stderrTail(), / ERROR engine unavailable endpoint="unix:/);
  assert.doesNotMatch(daemon.stderrTail(), / (WARN|INFO) /);
});

test('a port in use is one line that names the port and its flag, and exit code 1', async context => {
  const taken = createServer().listen(0, '127.0.0.1');
  context.after(() => taken.close());
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  assert.deepEqual(await execlet(['serve', '--port', String(port)]), {
    exitCode: 1,
    stdout: '',
    stderr: `execlet: port ${port} on 127.0.0.1 is in use: stop what listens there, or choose another port with --port\n`,
  });
});

test('other failures to listen name the flag that helps', () => {
  const settings = loadSettings({ flags: { port: '80' }, env: {}, readFile: () => '' });
  const failure = (code: string): string => startFailure(Object.assign(new Error('listen failed'), { code }), settings);
  assert.match(failure('EACCES'), /^port 80 on 127\.0\.0\.1 is not allowed .* --port$/);
  assert.match(failure('EADDRNOTAVAIL'), /^the address 127\.0\.0\.1 is not one of this host's.* --address$/);
  assert.equal(failure('EMFILE'), 'listen failed');
});
