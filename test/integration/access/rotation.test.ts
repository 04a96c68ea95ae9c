import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from 'node:tls';
import { Credentials } from '../../support/access.ts';
import { Authority, type Issued } from '../../support/authority.ts';
import { serveWeb } from '../../support/served.ts';
import { execOverSpdy } from '../../support/spdy-client.ts';
import { execOverWebSocket } from '../../support/websocket-client.ts';

const SESSIONS = 20;
const SLOW_BYTES = 24 * 1024 * 1024;
const SLOW_BYTES_PER_SECOND = 512 * 1024;
/** The daemon looks every 5 s; a busy machine may take longer. */
const NOTICED_MS = 30_000;

const credentials = await Credentials.make('rotation');
const alice = await credentials.user('alice');
const mounted = join(credentials.directory, 'mounted');

/** Puts files there as Kubernetes updates a mounted Secret: a new directory, and one symbolic link that is swapped. */
async function mountSecret(generation: number, files: Readonly<Record<string, string>>): Promise<void> {
  const data = `..generation-${generation}`;
  await mkdir(join(mounted, data), { recursive: true });
  for (const [name, content] of Object.entries(files)) await writeFile(join(mounted, data, name), content);
  await symlink(data, join(mounted, '..data_tmp'));
  await rename(join(mounted, '..data_tmp'), join(mounted, '..data'));
  if (generation > 1) return;
  for (const name of Object.keys(files)) await symlink(join('..data', name), join(mounted, name));
}

const first = await credentials.serverCertificate('first');
await mountSecret(1, { 'tls.crt': first.cert, 'tls.key': first.key, 'ca.crt': credentials.users.certificate });
const served = serveWeb({
  args: [
    ...['--tls-cert-file', join(mounted, 'tls.crt'), '--tls-private-key-file', join(mounted, 'tls.key')],
    ...['--client-ca-file', join(mounted, 'ca.crt'), '--authorization-mode', 'AlwaysAllow'],
  ],
});

/** The common name of the certificate that a new connection is shown. */
async function shownName(): Promise<string> {
  const socket = connect({ port: served.daemon.port, host: '127.0.0.1', ca: credentials.servers.certificate });
  await once(socket, 'secureConnect');
  const { subject } = socket.getPeerCertificate();
  socket.destroy();
  return String(subject.CN);
}

async function untilNewConnectionsSee(name: string): Promise<void> {
  const deadline = Date.now() + NOTICED_MS;
  while ((await shownName()) !== name && Date.now() < deadline) await delay(100);
  assert.equal(await shownName(), name);
}

async function statusFor(certificate: Issued): Promise<number> {
  return (await credentials.ask(served.daemon.port, '/version', 'GET', { certificate })).status;
}

async function metric(name: string, certificate: Issued): Promise<number> {
  const { body } = await credentials.ask(served.daemon.port, '/metrics', 'GET', { certificate });
  const line = body.split('\n').find(text => text.startsWith(`${name} `));
  assert.ok(line !== undefined, `${name} in ${body}`);
  return Number(line.split(' ')[1]);
}

interface Live {
  readonly stdin: PassThrough;
  readonly done: Promise<{ readonly stdout: Buffer; readonly status: string }>;
}

function start(index: number): Live {
  const stdin = new PassThrough();
  const { port } = served.daemon;
  const path = '/exec/default/web/app?command=cat&input=1&output=1&error=1';
  const ca = credentials.servers.certificate;
  const done =
    index % 2 === 0
      ? execOverSpdy({ port, ca, certificate: alice, path, protocols: ['v4.channel.k8s.io'], stdin }).then(
          ({ stdout, errorStream: status }) => ({ stdout, status }),
        )
      : execOverWebSocket({
          url: `wss://127.0.0.1:${port}${path}`,
          ca,
          certificate: alice,
          protocols: ['v5.channel.k8s.io'],
          stdin,
        });
  return { stdin, done };
}

const live: Live[] = [];
test('certificates and CAs are rotated under live sessions, and none notices', async () => {
  await served.web.exec(['sh', '-c', `head -c ${SLOW_BYTES} /dev/urandom > /tmp/slow`]);
  const slow = execOverWebSocket({
    url: `wss://127.0.0.1:${served.daemon.port}/exec/default/web/app?command=cat&command=/tmp/slow&output=1&error=1`,
    ca: credentials.servers.certificate,
    certificate: alice,
    protocols: ['v5.channel.k8s.io'],
    readBytesPerSecond: SLOW_BYTES_PER_SECOND,
  });
  for (let index = 0; index < SESSIONS; index++) live.push(start(index));
  for (const { stdin } of live) stdin.write('before ');
  const startedSessions = (): number => served.daemon.log.filter(({ message }) => message === 'session started').length;
  const deadline = Date.now() + NOTICED_MS;
  while (startedSessions() < SESSIONS + 1 && Date.now() < deadline) await delay(50);
  assert.equal(startedSessions(), SESSIONS + 1);
  assert.equal(await shownName(), 'first');

  const newUsers = await Authority.create('new users');
  const bob = await newUsers.issue({ commonName: 'bob', usages: ['client'] });
  assert.deepEqual([await statusFor(alice), await statusFor(bob)], [200, 401]);
  const second = await credentials.serverCertificate('second');
  await mountSecret(2, { 'tls.crt': second.cert, 'tls.key': second.key, 'ca.crt': newUsers.certificate });
  await untilNewConnectionsSee('second');
  const seen = Date.now() + NOTICED_MS;
  while ((await statusFor(bob)) !== 200 && Date.now() < seen) await delay(100);
  assert.deepEqual([await statusFor(alice), await statusFor(bob)], [401, 200]);

  // One that is broken changes nothing, and is told.
  await mountSecret(3, { 'tls.crt': 'broken', 'tls.key': second.key, 'ca.crt': newUsers.certificate });
  await served.daemon.waitForLog(({ level, file }) => level === 'error' && file === 'tls_certificate', NOTICED_MS);
  assert.equal(await shownName(), 'second');
  assert.equal(await metric('execlet_file_reloads_total{file="tls_certificate",result="failure"}', bob), 1);
  // Half of a pair too, until the other half comes.
  const third = await credentials.serverCertificate('third');
  await mountSecret(4, { 'tls.crt': third.cert, 'tls.key': second.key, 'ca.crt': newUsers.certificate });
  process.kill(served.daemon.pid, 'SIGHUP');
  const failures = (): number =>
    served.daemon.log.filter(({ level, file }) => level === 'error' && file === 'tls_certificate').length;
  const told = Date.now() + NOTICED_MS;
  while (failures() < 2 && Date.now() < told) await delay(50);
  assert.equal(failures(), 2);
  assert.equal(await shownName(), 'second');
  await mountSecret(5, { 'tls.crt': third.cert, 'tls.key': third.key, 'ca.crt': newUsers.certificate });
  process.kill(served.daemon.pid, 'SIGHUP');
  await untilNewConnectionsSee('third');
  assert.ok((await metric('execlet_tls_certificate_expiry_timestamp_seconds', bob)) > Date.now() / 1_000);

  assert.equal(served.daemon.sessionsEnded().length, 0, 'the slow reader is still at it');
  for (const { stdin } of live) stdin.end('after');
  for (const { done } of live) {
    const { stdout, status } = await done;
    assert.equal(stdout.toString(), 'before after');
    assert.match(status, /"status":"Success"/);
  }
  const { stdout } = await served.web.exec(['sha256sum', '/tmp/slow']);
  const { stdout: relayed, status } = await slow;
  assert.match(status, /"status":"Success"/);
  assert.equal(createHash('sha256').update(relayed).digest('hex'), stdout.split(' ')[0]);
});
