import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { Authority } from '../support/authority.ts';
import { writeServerCertificate } from '../support/certificates.ts';
import { CHECKOUT } from '../support/checkout.ts';
import { temporaryDirectory } from '../support/cleanup.ts';
import { runCommand } from '../support/command.ts';
import { ReviewServer } from '../support/review-server.ts';
import { serveWeb } from '../support/served.ts';

const served = serveWeb();
let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
before(async () => {
  directory = await temporaryDirectory('doctor');
});
after(() => directory.remove());

interface Diagnosis {
  readonly exitCode: number;
  readonly lines: readonly string[];
  readonly stderr: string;
}

async function doctor(...args: string[]): Promise<Diagnosis> {
  const given = ['src/main.ts', 'doctor', '--docker-endpoint', served.engine.dockerHost, ...args];
  const { exitCode, stdout, stderr } = await runCommand(process.execPath, given, { cwd: CHECKOUT });
  return { exitCode, lines: stdout.toString().split('\n').slice(0, -1), stderr };
}

/** The one line that matches. */
function line({ lines }: Diagnosis, pattern: RegExp): string {
  const found = lines.filter(one => pattern.test(one));
  assert.equal(found.length, 1, `${pattern.source} in\n${lines.join('\n')}`);
  return found[0] ?? '';
}

test('a host where all is well, and a daemon that runs', async () => {
  const found = await doctor('--port', String(served.daemon.port));
  assert.deepEqual([found.exitCode, found.stderr], [0, ''], found.lines.join('\n'));
  line(found, /^ok: the Engine at unix:\S+ answers: version \d/);
  line(found, /^(ok|note): API version 1\.\d+ is spoken/);
  line(found, /^ok: --naming-schemes kubernetes names 1 of 1 running container$/);
  line(found, /^ok: the processes of containers are seen here$/);
  line(found, /^ok: processes of every user may be signalled$/);
  line(found, /^ok: the clock here and that of the Engine at \S+ agree$/);
  line(found, /^note: serve listens on http:\/\/127\.0\.0\.1:\d+, and every local user/);
  line(found, /^ok: an execlet runs on 127\.0\.0\.1:\d+, and is ready$/);
  assert.equal(found.lines.length, 8);
});

test('the same as JSON', async () => {
  const { exitCode, lines } = await doctor('--port', String(served.daemon.port), '--output', 'json');
  const checks = z
    .array(z.strictObject({ check: z.string(), result: z.string(), text: z.string() }))
    .parse(JSON.parse(lines.join('\n')));
  assert.equal(exitCode, 0);
  assert.deepEqual(
    checks.map(({ check }) => check),
    ['engine', 'api-version', 'containers', 'termination', 'termination', 'clock', 'address', 'port'],
  );
});

test('no socket, and one that this user may not use', async () => {
  const missing = await doctor('--docker-endpoint', 'unix:///nowhere/docker.sock');
  assert.equal(missing.exitCode, 1);
  line(missing, /^problem: there is no socket \/nowhere\/docker\.sock: .*systemctl start docker/);
  line(missing, /^not checked: API version, containers, /);

  // Loaded first: another user may not read this checkout.
  const script = `
    import './src/doctor/doctor.ts';
    import { doctorCommand } from './src/commands/doctor.ts';
    process.setgroups([]);
    process.setgid(65534);
    process.setuid(65534);
    await doctorCommand().parseAsync(process.argv.slice(1), { from: 'user' });`;
  const given = ['--input-type=module', '--eval', script, '--', '--docker-endpoint', served.engine.dockerHost];
  const { exitCode, stdout } = await runCommand(process.execPath, given, { cwd: CHECKOUT });
  assert.equal(exitCode, 1);
  assert.match(
    stdout.toString(),
    /^problem: this user \(uid 65534; groups: .*65534.*\) may not use the socket .*as root/,
  );
});

test('containers that the naming schemes do not name', async () => {
  const found = await doctor('--naming-schemes', 'compose');
  assert.equal(found.exitCode, 1);
  line(
    found,
    /^problem: --naming-schemes compose names 0 of 1 running container, .*: --naming-schemes kubernetes,plain would name them$/,
  );
});

test('a certificate that has expired, and a key of another', async () => {
  const authority = await Authority.create('ca');
  const end = new Date(Date.now() - 60 * 60 * 1_000);
  const notBefore = new Date(end.getTime() - 60 * 60 * 1_000);
  const { cert, key } = await authority.issue({ commonName: 'node', sans: ['127.0.0.1'], notBefore, notAfter: end });
  const file = (name: string): string => join(directory.path, name);
  await writeFile(file('old.crt'), cert);
  await writeFile(file('old.key'), key, { mode: 0o600 });
  const expired = await doctor('--tls-cert-file', file('old.crt'), '--tls-private-key-file', file('old.key'));
  assert.equal(expired.exitCode, 1);
  line(expired, new RegExp(`^problem: the certificate \\S+old\\.crt expired at ${end.toISOString().slice(0, 13)}`));

  const { certFile } = await writeServerCertificate(directory.path);
  const mixed = await doctor('--tls-cert-file', certFile, '--tls-private-key-file', file('old.key'));
  assert.deepEqual([mixed.exitCode, mixed.lines], [2, []]);
  assert.match(mixed.stderr, /^execlet: --tls-private-key-file: \S+old\.key is not the key of \S+ \([^\n]+\)\n$/);
});

test('an API server that refuses reviews', async () => {
  const server = await ReviewServer.start();
  try {
    const kubeconfig = await server.kubeconfig();
    const asked = ['--authentication-token-webhook', '--authorization-mode', 'Webhook', '--kubeconfig', kubeconfig];
    const good = await doctor(...asked);
    assert.equal(good.exitCode, 0, good.lines.join('\n'));
    line(good, /^ok: the API server https:\S+, asked by \S+, answers a SubjectAccessReview$/);
    server.faults.push({ status: 403 }, { status: 403 });
    const refused = await doctor(...asked);
    assert.equal(refused.exitCode, 1);
    line(refused, /^problem: .* answers no TokenReview: .*system:auth-delegator/);
    line(refused, /^problem: .* answers no SubjectAccessReview: .*system:auth-delegator/);
    assert.doesNotMatch(refused.lines.join('\n'), new RegExp(server.token));
  } finally {
    await server.close();
  }
});

test('an Engine that does not answer, and a daemon that says so', async () => {
  const dockerd = served.engine.requirePrivate();
  dockerd.pause();
  try {
    const frozen = await doctor('--engine-timeout', '500ms');
    assert.equal(frozen.exitCode, 1);
    line(frozen, /^problem: the Engine at \S+ has not answered within 0\.5 s: dockerd hangs/);
  } finally {
    dockerd.resume();
  }
  await dockerd.kill();
  await served.daemon.waitForLog(({ message }) => message === 'engine unavailable');
  const killed = await doctor('--port', String(served.daemon.port));
  assert.equal(killed.exitCode, 1);
  line(killed, /^problem: nobody listens on the socket \S+, though it is there: dockerd has ended/);
  line(
    killed,
    /^problem: an execlet runs on \S+, and is not ready \(engine failed: the Engine at \S+ does not answer; /,
  );
});
