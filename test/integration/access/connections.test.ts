import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Credentials } from '../../support/access.ts';
import { Authority, type Issued } from '../../support/authority.ts';
import { Daemon } from '../../support/daemon.ts';
import { dial } from '../../support/dial.ts';

// What belongs to a connection rather than to a request. No exec comes as far as the Engine, so there is none.

const credentials = await Credentials.make('connections');
const intermediate = await credentials.users.issue({ commonName: 'intermediate', ca: true });
const args = [
  ...(await credentials.tls()),
  ...(await credentials.clientCertificates()),
  ...(await credentials.rules('rules: [{ users: [root], verbs: ["*"] }]\n')),
  ...['--docker-endpoint', 'unix:///nowhere/docker.sock'],
];
await credentials.file('users.crt', `${credentials.users.certificate}${intermediate.cert}`);
let daemon: Daemon;
before(async () => {
  daemon = await Daemon.start({ engine: { dockerHost: 'unix:///nowhere/docker.sock' }, args });
});
after(async () => daemon.stop());

/** Sends the pieces one after the other over one connection, and answers all that came back until it closes or is quiet. */
async function exchange(pieces: readonly string[], certificate?: Issued): Promise<string> {
  const { socket } = await dial({ port: daemon.port, ca: credentials.servers.certificate, certificate });
  let answers = '';
  socket.on('data', (chunk: Buffer) => (answers += chunk.toString('latin1')));
  socket.on('error', () => undefined);
  for (const piece of pieces) {
    if (!socket.destroyed) socket.write(piece);
    await delay(300); // each is to be read apart from the one before
  }
  socket.destroy();
  return answers;
}

function statusesIn(answers: string): string[] {
  return [...answers.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(match => match[1] ?? '');
}

test('behind an upgrade that is offered and not taken, a body does not become a request', async () => {
  const proxy = await credentials.frontProxy();
  const inner = 'GET /metrics HTTP/1.1\r\nHost: a\r\nX-Remote-User: root\r\n\r\n';
  const outer = `POST /version HTTP/1.1\r\nHost: a\r\nX-Remote-User: mallory\r\nContent-Length: ${inner.length}\r\n\r\n`;
  const offer =
    'GET /version HTTP/1.1\r\nHost: a\r\nX-Remote-User: mallory\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n';
  const answers = await exchange([offer + outer, inner], proxy);
  assert.doesNotMatch(answers, /execlet_build_info/);
  assert.deepEqual(statusesIn(answers), ['200']);
});

test('a client that offers such an upgrade is answered, and its connection closed', async () => {
  const proxy = await credentials.frontProxy();
  const offer =
    'GET /version HTTP/1.1\r\nHost: a\r\nX-Remote-User: root\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n';
  const answers = await exchange([offer, offer], proxy);
  assert.deepEqual(statusesIn(answers), ['200']);
  assert.match(answers, /^Connection: close\r$/m);
});

test('certificates of an intermediate CA count where the CA file holds it', async () => {
  const statusFor = async (issuer: Issued): Promise<number> => {
    const certificate = await (await Authority.of(issuer)).issue({ commonName: 'root', usages: ['client'] });
    return (await credentials.ask(daemon.port, '/metrics', 'GET', { certificate })).status;
  };
  assert.equal(await statusFor(intermediate), 200);
  const forger = await Authority.create('users');
  assert.equal(await statusFor(await forger.issue({ commonName: 'intermediate', ca: true })), 401);
});

test('an anonymous caller of a front proxy gets no right of those who are authenticated', async () => {
  const certificate = await credentials.frontProxy();
  const rules = 'rules: [{ groups: ["system:authenticated"], verbs: ["*"] }]\n';
  const strict = await Daemon.start({
    engine: { dockerHost: 'unix:///nowhere/docker.sock' },
    args: [...args.slice(0, args.indexOf('--authorization-mode')), ...(await credentials.rules(rules))],
  });
  const statusFor = async (headers: Record<string, string>): Promise<number> =>
    (await credentials.ask(strict.port, '/metrics', 'GET', { certificate, headers })).status;
  assert.equal(await statusFor({ 'X-Remote-User': 'alice' }), 200);
  assert.equal(await statusFor({ 'X-Remote-User': 'system:anonymous' }), 403);
  assert.equal(
    await statusFor({ 'X-Remote-User': 'system:anonymous', 'X-Remote-Group': 'system:unauthenticated' }),
    403,
  );
  await strict.stop();
});

test('a target that is no path is 404, and nothing of it is written anywhere', async () => {
  const answers = await exchange(['GET http://a:a/exec/x?command=s3cret HTTP/1.1\r\nHost: a\r\n\r\n']);
  assert.deepEqual(statusesIn(answers), ['404']);
  assert.doesNotMatch(daemon.stderr(), /s3cret|DEP0170/);
});
