import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Credentials, type Shown } from '../../support/access.ts';
import { Daemon } from '../../support/daemon.ts';
import { serveWeb } from '../../support/served.ts';
import { execOverWebSocket, type WebSocketExec } from '../../support/websocket-client.ts';

const credentials = await Credentials.make('session-log');
const logFile = join(credentials.directory, 'sessions.log');
const args = [
  ...(await credentials.tls()),
  ...(await credentials.clientCertificates()),
  ...(await credentials.rules('rules: [{ groups: [dev], verbs: [exec] }]\n')),
];
const started: Daemon[] = [];
const served = serveWeb({ args: [...args, '--session-log', logFile, '--session-log-redact', '--password \\S+'] });
after(async () => {
  await Promise.all(started.map(async daemon => daemon.stop()));
});

const alice: Shown = { certificate: await credentials.user('alice', 'dev') };
const eve: Shown = { certificate: await credentials.user('eve') };
const proxied: Shown = {
  certificate: await credentials.frontProxy(),
  headers: {
    'X-Remote-User': 'bob',
    'X-Remote-Group': 'dev',
    'Audit-ID': 'audit-1',
    'X-Forwarded-For': '192.0.2.7',
  },
};

type Line = Readonly<Record<string, unknown>>;

function linesIn(file: string): Line[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line) as Line);
}

/** The first line from that index on that has these fields. */
async function lineWith(fields: Line, from: number, file = logFile): Promise<Line> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const found = linesIn(file).find(
      (line, index) => index >= from && Object.entries(fields).every(([name, value]) => line[name] === value),
    );
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`no ${JSON.stringify(fields)} in ${readFileSync(file, 'utf8')}`);
    await delay(20);
  }
}

function target(command: readonly string[], more: readonly [string, string][] = []): string {
  const streams: [string, string][] = ['input', 'output', 'error'].map(name => [name, '1']);
  const query = new URLSearchParams([
    ...command.map((word): [string, string] => ['command', word]),
    ...streams,
    ...more,
  ]);
  return `/exec/default/web/app?${query.toString()}`;
}

async function exec(shown: Shown, path: string, daemon = served.daemon): Promise<WebSocketExec> {
  return execOverWebSocket({
    url: `wss://127.0.0.1:${daemon.port}${path}`,
    ca: credentials.servers.certificate,
    certificate: shown.certificate,
    headers: shown.headers,
    protocols: ['v5.channel.k8s.io'],
    stdin: Buffer.from('four'),
  });
}

async function execsCreatedSince(since: number): Promise<number> {
  const events = await served.engine.docker.getEvents({
    since,
    until: Date.now() / 1_000,
    filters: { container: [served.web.id], event: ['exec_create'] },
  });
  return (await text(events)).split('\n').filter(line => line !== '').length;
}

test('a session is on record with who, what and how it ended', async () => {
  const from = linesIn(logFile).length;
  const command = ['sh', '-c', 'cat; echo err >&2; exit 7', '--password', 'hunter2'];
  await exec(alice, target(command));
  const start = await lineWith({ event: 'session_started' }, from);
  const end = await lineWith({ event: 'session_ended' }, from);
  const session = {
    session: start.session,
    user: 'alice',
    proof: 'client_certificate',
    remoteAddress: '127.0.0.1',
    namespace: 'default',
    pod: 'web',
    podUid: start.podUid,
    container: 'app',
    containerId: served.web.id,
    tty: false,
    transport: 'websocket',
    protocol: 'v5.channel.k8s.io',
  };
  const { time: startTime, ...startFields } = start;
  const { time: endTime, durationMs, ...endFields } = end;
  assert.deepEqual(startFields, {
    event: 'session_started',
    ...session,
    groups: ['dev', 'system:authenticated'],
    command: [...command.slice(0, 3), '[redacted]', '[redacted]'],
  });
  assert.deepEqual(endFields, {
    event: 'session_ended',
    ...session,
    exitCode: 7,
    reason: 'exit',
    stdinBytes: 4,
    stdoutBytes: 4,
    stderrBytes: 4,
  });
  assert.ok(typeof durationMs === 'number' && durationMs >= 0);
  assert.ok(Date.parse(String(startTime)) <= Date.parse(String(endTime)));
  assert.equal(statSync(logFile).mode & 0o777, 0o600);
});

test('of a trusted proxy, and of nobody else, it holds the audit id and whom it forwards for', async () => {
  const from = linesIn(logFile).length;
  const variable: [string, string] = ['env', 'KUBERNETES_EXEC_AUDIT_ID=audit-2'];
  const { stdout } = await exec(proxied, target(['sh', '-c', 'echo $KUBERNETES_EXEC_AUDIT_ID'], [variable]));
  assert.equal(stdout.toString(), 'audit-2\n');
  assert.partialDeepStrictEqual(await lineWith({ event: 'session_started' }, from), {
    user: 'bob',
    proof: 'front_proxy',
    proxy: 'front-proxy',
    auditId: 'audit-2',
    forwardedFor: '192.0.2.7',
  });
  const header = linesIn(logFile).length;
  await exec(proxied, target(['true']));
  assert.equal((await lineWith({ event: 'session_started' }, header)).auditId, 'audit-1');
  const forged = linesIn(logFile).length;
  await exec({ ...alice, headers: proxied.headers ?? {} }, target(['true']));
  const { user, auditId, forwardedFor, proxy } = await lineWith({ event: 'session_started' }, forged);
  assert.deepEqual([user, auditId, forwardedFor, proxy], ['alice', undefined, undefined, undefined]);
});

test('an environment is taken from nobody, but for the audit id of a trusted proxy', async () => {
  const { port } = served.daemon;
  const ask = async (shown: Shown, ...env: string[]): Promise<[number, string]> => {
    const path = target(
      ['true'],
      env.map((variable): [string, string] => ['env', variable]),
    );
    const { status, body } = await credentials.ask(port, path, 'WebSocket upgrade', shown);
    return [status, body];
  };
  assert.deepEqual(await ask(alice, 'KUBERNETES_EXEC_AUDIT_ID=x'), [403, 'env is taken from a front proxy only']);
  assert.equal((await ask(proxied, 'KUBERNETES_EXEC_AUDIT_ID=x'))[0], 101);
  for (const shown of [alice, proxied]) {
    for (const env of [
      ['PATH=/tmp'],
      ['KUBERNETES_EXEC_AUDIT_ID'],
      ['KUBERNETES_EXEC_AUDIT_ID=a b'],
      ['KUBERNETES_EXEC_AUDIT_ID=a', 'PATH=/tmp'],
    ]) {
      assert.equal((await ask(shown, ...env))[0], 400, env.join());
    }
  }
});

test('each refusal is on record, with as much of the caller as was known', async () => {
  const { port } = served.daemon;
  let from = linesIn(logFile).length;
  await credentials.ask(port, target(['true']), 'SPDY upgrade');
  const stranger = await lineWith({ event: 'refused', status: 401 }, from);
  assert.partialDeepStrictEqual(stranger, {
    method: 'POST',
    path: '/exec/default/web/app',
    status: 401,
    remoteAddress: '127.0.0.1',
  });
  assert.equal(stranger.user, undefined);
  from = linesIn(logFile).length;
  await credentials.ask(port, target(['true']), 'WebSocket upgrade', eve);
  assert.partialDeepStrictEqual(await lineWith({ event: 'refused', user: 'eve' }, from), {
    user: 'eve',
    status: 403,
    code: 'NotAllowed',
  });
  from = linesIn(logFile).length;
  await credentials.ask(port, '/pods', 'GET', eve);
  assert.partialDeepStrictEqual(await lineWith({ event: 'refused', user: 'eve' }, from), {
    user: 'eve',
    path: '/pods',
    status: 403,
  });
});

test('after a rotation and SIGHUP it goes on in a new file', async () => {
  const rotated = `${logFile}.1`;
  await rename(logFile, rotated);
  const before = linesIn(rotated).length;
  await exec(alice, target(['true']));
  await lineWith({ event: 'session_ended' }, before, rotated);
  process.kill(served.daemon.pid, 'SIGHUP');
  const deadline = Date.now() + 5_000;
  while (statSync(logFile, { throwIfNoEntry: false }) === undefined && Date.now() < deadline) await delay(20);
  await exec(alice, target(['true']));
  await lineWith({ event: 'session_ended' }, 0);
  assert.equal(statSync(logFile).mode & 0o777, 0o600);
});

test('while it cannot be written, sessions are refused or go on, as it is set', async () => {
  const start = async (failure: string): Promise<Daemon> => {
    const daemon = await Daemon.start({
      engine: served.engine,
      args: [...args, '--session-log', '/dev/full', '--session-log-failure', failure],
    });
    started.push(daemon);
    return daemon;
  };
  const refusing = await start('refuse');
  const since = Date.now() / 1_000;
  const { status, body } = await credentials.ask(refusing.port, target(['true']), 'WebSocket upgrade', alice);
  assert.deepEqual(
    [status, body],
    [503, 'the session log cannot be written at present, and this node runs nothing that is not on record'],
  );
  assert.deepEqual(await execsCreatedSince(since), 0);
  const going = await start('continue');
  assert.match((await exec(alice, target(['echo', 'hi']), going)).status, /"status":"Success"/);
});
