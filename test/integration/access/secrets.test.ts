import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Credentials, SHAPES, type Shape, type Shown } from '../../support/access.ts';
import { Daemon } from '../../support/daemon.ts';
import { ReviewServer, type Fault } from '../../support/review-server.ts';
import { serveWeb } from '../../support/served.ts';
import { execOverWebSocket } from '../../support/websocket-client.ts';

/** In everything that must not be repeated; what comes behind it differs. */
const MARK = 's3cr3t';
const BASE64_MARK = /czNjcjN0|MzY3Izd|zM2NyM3|s3cr3t/; // at each of the three offsets
const credentials = await Credentials.make('secrets');
const cluster = await ReviewServer.start();
cluster.token = `${MARK}-of-execlet`;
cluster.users.set(`${MARK}-reviewed`, { username: 'carol', groups: ['dev'] });
const sessionLog = join(credentials.directory, 'sessions.log');
const rules = 'rules: [{ groups: [dev], verbs: ["*"] }]\n';

const served = serveWeb({
  args: [
    ...['--log-level', 'debug', '--session-log', sessionLog, '--session-log-redact', `${MARK}-argument`],
    ...(await credentials.tls()),
    ...(await credentials.clientCertificates()),
    ...(await credentials.tokens([`${MARK}-file,twice,2`, `${MARK}-file,alice,1,dev`, `,nobody,3`])),
    ...(await credentials.rules(rules)),
    ...['--authentication-token-webhook', '--kubeconfig', await cluster.kubeconfig()],
    ...['--authentication-token-webhook-cache-ttl', '1ms'],
  ],
});
after(async () => cluster.close());

const EXEC = `/api/v1/namespaces/default/pods/web/exec?command=echo&command=${MARK}-argument&stdout=true&stdin=true&access_token=${MARK}-query`;
const bearer = (token: string): Shown => ({ headers: { Authorization: `Bearer ${token}` } });

/** Every way to show a token, right and wrong. */
const SHOWN: Readonly<Record<string, Shown>> = {
  'from the file': bearer(`${MARK}-file`),
  reviewed: bearer(`${MARK}-reviewed`),
  unknown: bearer(`${MARK}-unknown`),
  'with a space': bearer(`${MARK} ${MARK}`),
  'another scheme': { headers: { Authorization: `Basic ${MARK}` } },
  'no scheme': { headers: { Authorization: MARK } },
  'as a subprotocol': { subprotocolToken: `${MARK}-file` },
  'as an unknown subprotocol': { subprotocolToken: `${MARK}-unknown` },
  'as a subprotocol alone': {
    headers: { 'Sec-WebSocket-Protocol': `base64url.bearer.authorization.k8s.io.${encoded(MARK)}` },
  },
  'as a subprotocol beside one that is not spoken': {
    headers: {
      'Sec-WebSocket-Protocol': `v9.channel.k8s.io, base64url.bearer.authorization.k8s.io.${encoded(`${MARK}-file`)}`,
    },
  },
  'as a SPDY subprotocol': {
    headers: {
      Authorization: `Bearer ${MARK}-file`,
      'X-Stream-Protocol-Version': `base64url.bearer.authorization.k8s.io.${encoded(MARK)}`,
    },
  },
  'to impersonate': { headers: { Authorization: `Bearer ${MARK}-file`, 'Impersonate-User': MARK } },
  'as identity headers': { headers: { 'X-Remote-User': MARK, 'X-Remote-Extra-Token': MARK } },
  'as a cookie': { headers: { Cookie: `token=${MARK}`, Origin: 'https://evil.example' } },
};

function encoded(token: string): string {
  return Buffer.from(token).toString('base64url');
}

test('no token, key or hidden argument is in any answer, log or record, at any level', async () => {
  const { port } = served.daemon;
  const answers: string[] = [];
  const ask = async (shown: Shown, path = EXEC): Promise<void> => {
    for (const shape of Object.keys(SHAPES) as Shape[]) {
      const { status, headers, body } = await credentials.ask(port, path, shape, shown);
      answers.push(JSON.stringify({ status, headers, body }));
    }
  };
  for (const shown of Object.values(SHOWN))
    for (const path of [EXEC, '/version', '/nothing', '/pods']) await ask(shown, path);

  const faults: Fault[] = [
    { status: 401 },
    { status: 403 },
    { status: 500 },
    'redirect',
    'hang up',
    'unasked upgrade',
    'not JSON',
    'plain text',
    'another kind',
    'no status',
    'huge',
  ];
  for (const [index, fault] of faults.entries()) {
    cluster.faults.push(fault, fault);
    await ask(bearer(`${MARK}-${index}`));
    cluster.faults.length = 0;
  }

  await execOverWebSocket({
    url: `wss://127.0.0.1:${port}${EXEC}`,
    ca: credentials.servers.certificate,
    headers: { Authorization: `Bearer ${MARK}-file` },
    protocols: ['v5.channel.k8s.io'],
    stdin: Buffer.from(`${MARK}-input`),
  });

  // Files that are spoilt under the running daemon.
  await credentials.file('tokens.csv', `"${MARK}-file,alice`);
  await credentials.file('rules.yaml', `rules: [{ users: [a], password: ${MARK} }]\n`);
  await credentials.file('tls.key', `-----BEGIN PRIVATE KEY-----\n${encoded(MARK)}\n-----END PRIVATE KEY-----\n`);
  await credentials.file('users.crt', MARK);
  process.kill(served.daemon.pid, 'SIGHUP');
  for (const file of ['token_auth', 'authorization_rules', 'tls_certificate', 'client_ca']) {
    await served.daemon.waitForLog(line => line.file === file && line.level === 'error');
  }
  await ask(bearer(`${MARK}-file`));

  await delay(100); // the log is written in a later turn
  const written = `${served.daemon.stderr()}\n${await readFile(sessionLog, 'utf8')}`;
  assert.ok(written.length > 10_000, 'the daemon has written what it does');
  for (const line of written.split('\n')) {
    assert.doesNotMatch(line, BASE64_MARK);
  }
  for (const answer of answers) assert.doesNotMatch(answer, BASE64_MARK);
});

test('a start that fails repeats nothing of the file that it names', async () => {
  const start = async (...args: string[]): Promise<string> => {
    const failed: unknown = await Daemon.start({ engine: served.engine, args }).catch((cause: unknown) => cause);
    assert.ok(failed instanceof Error, 'the daemon started');
    return failed.message;
  };
  const broken = async (name: string, text: string): Promise<string> => credentials.file(name, text);
  const messages = [
    await start('--token-auth-file', await broken('a.csv', MARK), '--authorization-mode', 'AlwaysAllow'),
    await start('--client-ca-file', await broken('b.crt', MARK), '--authorization-mode', 'AlwaysAllow'),
    await start(
      '--anonymous-auth',
      '--authorization-mode',
      'Rules',
      '--authorization-rules-file',
      await broken('c.yaml', `rules: "${MARK}`),
    ),
    await start(
      '--anonymous-auth',
      '--authorization-mode',
      'Webhook',
      '--kubeconfig',
      await broken('d.yaml', `users: {token: ${MARK}`),
    ),
    await start('--session-log', '-', '--session-log-redact', `(${MARK}`),
  ];
  for (const message of messages) {
    assert.match(message, /ended with exit code 2/);
    assert.match(message, /execlet: --/);
    assert.doesNotMatch(message, BASE64_MARK);
  }
});
