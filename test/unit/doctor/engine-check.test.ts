import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Engine, type EngineEndpoint } from '../../../src/docker/engine.ts';
import { askEngine, checkApiVersion } from '../../../src/doctor/engine-check.ts';
import { explainEngineFailure } from '../../../src/doctor/engine-failure.ts';
import { CHECKOUT } from '../../support/checkout.ts';
import { temporaryDirectory } from '../../support/cleanup.ts';
import { runCommand } from '../../support/command.ts';
import { listening } from '../../support/handshake.ts';

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
before(async () => {
  directory = await temporaryDirectory('engine-check');
});
after(() => directory.remove());

async function ask(endpoint: EngineEndpoint, timeoutMs = 2_000): Promise<string> {
  const { finding, version } = await askEngine(new Engine({ endpoint, timeoutMs }), timeoutMs);
  assert.equal(version, undefined);
  return `${finding.result}: ${finding.text}`;
}

function socket(path: string): EngineEndpoint {
  return { text: `unix://${path}`, socketPath: path };
}

async function listenOn(path: string): Promise<Server> {
  const server = createServer(() => undefined).listen(path);
  await once(server, 'listening');
  return server;
}

test('a socket that is missing, is none, or has nobody behind it: each has its own cure', async () => {
  const path = (name: string): string => join(directory.path, name);
  assert.match(
    await ask(socket(path('missing'))),
    /^problem: there is no socket \S+missing: .*systemctl start docker.*--docker-endpoint/,
  );
  await mkdir(path('directory'));
  assert.match(await ask(socket(path('directory'))), /^problem: \S+directory is a directory .*remove it/);
  await writeFile(path('file'), '');
  assert.match(await ask(socket(path('file'))), /^problem: \S+file is not a socket: .*--docker-endpoint/);
  // A process that is killed leaves its socket behind.
  const script = `require('node:net').createServer().listen(${JSON.stringify(path('stale'))}, () => console.log('listening'))`;
  const child = spawn(process.execPath, ['--eval', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'close');
  assert.match(
    await ask(socket(path('stale'))),
    /^problem: nobody listens on the socket \S+stale, .*dockerd has ended/,
  );
});

test('a socket that this user may not use: who the user is, whose it is, and what to do', async () => {
  const path = join(directory.path, 'locked');
  const server = await listenOn(path);
  await chmod(path, 0o600);
  await chmod(directory.path, 0o755);
  const script = `
    import { Engine } from './src/docker/engine.ts';
    import { askEngine } from './src/doctor/engine-check.ts';
    if (process.getuid() === 0) {
      process.setgroups([]);
      process.setgid(65534);
      process.setuid(65534);
    } else {
      (await import('node:fs')).chmodSync(${JSON.stringify(path)}, 0);
    }
    const endpoint = { text: 'unix', socketPath: ${JSON.stringify(path)} };
    console.log((await askEngine(new Engine({ endpoint, timeoutMs: 2000 }), 2000)).finding.text, process.getuid());`;
  const { stdout, stderr } = await runCommand(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: CHECKOUT,
  });
  assert.equal(stderr, '');
  const [uid] = stdout.toString().trim().split(' ').slice(-1);
  const text = stdout.toString();
  assert.match(
    text,
    new RegExp(
      `^this user \\(uid ${uid ?? ''}; groups: .*\\d.*\\) may not use the socket \\S+locked: it belongs to uid \\d+`,
    ),
  );
  assert.match(text, /group \S*( ?\(?\d+\)?), mode 0\d00; run execlet as root/);
  server.close();
});

test('an Engine that takes a connection and says nothing has not answered in time', async () => {
  const path = join(directory.path, 'silent');
  const server = await listenOn(path);
  assert.match(
    await ask(socket(path), 200),
    /^problem: the Engine at \S+ has not answered within 0\.2 s: dockerd hangs/,
  );
  server.close();
});

test('a remote Engine: nobody there, and something that is no Engine', async () => {
  const server = createServer(connection =>
    connection.resume().end('HTTP/1.1 418 Teapot\r\nContent-Length: 5\r\n\r\nshort'),
  );
  const port = await listening(server);
  const tcp = (host: string): EngineEndpoint => ({ text: `tcp://${host}:${port}`, protocol: 'http', host, port });
  assert.match(await ask(tcp('127.0.0.1')), /^problem: .*short.*; see whether this is an Engine/);
  server.close();
  await once(server, 'close');
  assert.match(await ask(tcp('127.0.0.1')), /^problem: nothing listens at tcp:.*--host/);
});

test('what else keeps a remote Engine from answering, by the code of the system', () => {
  const endpoint = { text: 'https://engine:2376', protocol: 'https', host: 'engine', port: 2376 } as const;
  const explain = (code: string): string => {
    const cause = new Error('does not answer', { cause: Object.assign(new Error('no'), { code }) });
    return explainEngineFailure(cause, { endpoint, timeoutMs: 1_000, elapsedMs: 1 });
  };
  assert.match(explain('ENOTFOUND'), /^the host of https:\S+ is not known here \(ENOTFOUND\): .*DNS/);
  assert.match(explain('EHOSTUNREACH'), /^the host of \S+ is not reached from here .*firewalls/);
  assert.match(explain('EPROTO'), /speaks no TLS/);
  assert.match(explain('CERT_HAS_EXPIRED'), /^no trusted TLS connection .*DOCKER_CERT_PATH/);
});

test('the API version: good, old, too old, and an Engine that is too new', () => {
  const judge = (newestApi: string, spoken = newestApi, oldestApi = '1.12'): string => {
    const [finding, ...rest] = checkApiVersion({ version: '1', newestApi, oldestApi }, spoken);
    assert.deepEqual(rest, []);
    return `${finding?.result ?? ''}: ${finding?.text ?? ''}`;
  };
  assert.equal(judge('1.99', '1.51'), "ok: API version 1.51 is spoken, the Engine's newest is 1.99");
  assert.match(judge('1.42'), /^ok: /);
  assert.match(judge('1.41'), /^note: .*: before 1\.42 a terminal gets its first size only when/);
  assert.match(judge('1.40'), /^problem: .*update the Engine$/);
  assert.match(judge('1.99', '1.51', '1.60'), /^problem: the Engine speaks no API older than 1\.60, .*update execlet$/);
});
