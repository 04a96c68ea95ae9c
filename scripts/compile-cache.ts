// Part of the build: starts the packaged daemon once, so that Node leaves what V8 has compiled for a start in dist/compiled, where
// dist/bin.js looks for it. It is good for this Node, these paths and this user; anywhere else Node compiles as if it were not there.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const dist = join(import.meta.dirname, '..', 'dist');
const compiled = join(dist, 'compiled');
await rm(compiled, { recursive: true, force: true });
await mkdir(compiled, { mode: 0o755 });

const certDir = await mkdtemp(join(tmpdir(), 'execlet-build-'));
try {
  // Nothing listens at that endpoint, and the daemon starts without.
  const flags = [
    '--port',
    '0',
    '--cert-dir',
    certDir,
    '--docker-endpoint',
    `unix://${certDir}/none`,
    '--log-level',
    'error',
  ];
  const daemon = spawn(process.execPath, [join(dist, 'bin.js'), 'serve', ...flags], {
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: 60_000,
  });
  const exited = once(daemon, 'exit');
  await Promise.race([once(daemon.stdout, 'data'), exited]); // the ready line
  daemon.kill('SIGTERM');
  const [exitCode] = (await exited) as [number | null];
  if (exitCode !== 0) throw new Error(`the daemon that was to be compiled ended with ${String(exitCode)}`);
} finally {
  await rm(certDir, { recursive: true, force: true });
}
