import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createServer as createTcpServer } from 'node:net';
import { test, type TestContext } from 'node:test';
import { loadSettings } from '../../../src/config/load.ts';
import type { Settings } from '../../../src/config/schema.ts';
import { checkExposure, checkPort } from '../../../src/doctor/listener-check.ts';
import { makeServerCertificate } from '../../support/certificates.ts';
import { listening } from '../../support/handshake.ts';

function settingsOf(flags: Readonly<Record<string, string>>): Settings {
  return loadSettings({ flags, env: {}, readFile: () => 'token,alice,1' });
}

function exposure(flags: Readonly<Record<string, string>>): string {
  return checkExposure(settingsOf(flags))
    .map(({ result, text }) => `${result}: ${text}`)
    .join('\n');
}

async function portLine(port: number, flags: Readonly<Record<string, string>> = {}): Promise<string> {
  const findings = await checkPort(settingsOf({ port: String(port), ...flags }));
  return findings.map(({ result, text }) => `${result}: ${text}`).join('\n');
}

async function serving(context: TestContext, server: Server, body: string, statusCode = 200): Promise<number> {
  server.on('request', (_request, response) => response.writeHead(statusCode).end(body));
  context.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return listening(server);
}

const READY = '[+]engine ok\n[+]registry ok\n[+]draining ok\nreadyz check passed\n';

test('who gets in by the settings', () => {
  const tokens = { tokenAuthFile: 'tokens' };
  assert.match(
    exposure({}),
    /^note: serve listens on http:\/\/127\.0\.0\.1:10350, and every local user .*--token-auth-file/,
  );
  assert.match(
    exposure({ ...tokens, authorizationMode: 'AlwaysAllow' }),
    /^note: .*callers who prove who they are may do everything/,
  );
  assert.equal(
    exposure({
      ...tokens,
      address: '0.0.0.0',
      authenticationTokenWebhook: 'true',
      authorizationMode: 'Webhook',
      anonymousAuth: 'true',
    }),
    'ok: serve listens on https://0.0.0.0:10350; callers who prove who they are and anonymous callers are let in, and the API server decides what they may do',
  );
  assert.match(exposure({ address: '::1' }), /http:\/\/\[::1\]:10350/);
  assert.equal(
    exposure({ ...tokens, address: '192.0.2.7', authorizationMode: 'AlwaysAllow' }),
    "problem: the address 192.0.2.7 is not one of this host's: choose another with --address",
  );
});

test('a port where nobody listens is free, and 0 is any', async () => {
  const server = createTcpServer();
  const port = await listening(server);
  await new Promise(resolve => server.close(resolve));
  assert.match(await portLine(port), /^ok: nothing listens on 127\.0\.0\.1:\d+: no daemon runs there/);
  assert.match(await portLine(0), /^not checked: /);
});

test('an execlet says whether it is ready, also over TLS with whatever certificate', async context => {
  const plain = await serving(context, createServer(), READY);
  assert.match(await portLine(plain), /^ok: an execlet runs on 127\.0\.0\.1:\d+, and is ready$/);
  assert.match(
    await portLine(plain, { address: '0.0.0.0', tokenAuthFile: 't', authorizationMode: 'AlwaysAllow' }),
    /^problem: an execlet runs on \S+ and speaks http, and by these settings it would be https/,
  );
  const down = await serving(
    context,
    createServer(),
    READY.replace('[+]engine ok', '[-]engine failed: it is down'),
    503,
  );
  assert.match(
    await portLine(down),
    /^problem: an execlet runs on \S+, and is not ready \(engine failed: it is down\): see its log$/,
  );
  const secure = await serving(context, createTlsServer(await makeServerCertificate()), READY);
  assert.match(await portLine(secure, { certDir: '/nowhere' }), /^ok: an execlet runs/);
});

test('something else on the port is a problem: another server, or one that speaks no HTTP', async context => {
  const other = await serving(context, createServer(), '[+]etcd ok\n', 404);
  assert.match(
    await portLine(other),
    /^problem: something that is no execlet listens on \S+ \(it answers 404\): .*ss -ltnp.*--port/,
  );
  const rude = createTcpServer(socket => socket.end('220 mail\r\n'));
  context.after(() => rude.close());
  assert.match(
    await portLine(await listening(rude)),
    /^problem: something that is no execlet listens on \S+ \(\w+\): /,
  );
});
