import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { VERSION } from '../../../src/version.ts';
import { execlet } from './execlet.ts';

/** An HTTP server behind a Unix socket, as the Engine is; answers its endpoint. */
async function listen(context: TestContext, listener: RequestListener): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'execlet-'));
  const socket = join(directory, 'engine.sock');
  const server = createServer(listener).listen(socket);
  context.after(async () => {
    server.close();
    await rm(directory, { recursive: true });
  });
  await once(server, 'listening');
  return `unix://${socket}`;
}

test('prints the versions of execlet, Node and the Engine', async context => {
  const endpoint = await listen(context, ({ url }, response) => {
    response.end(url === '/version' ? '{"Version":"28.5.2","ApiVersion":"1.51","Os":"linux"}' : '{}');
  });
  assert.deepEqual(await execlet(['version'], { env: { DOCKER_HOST: endpoint } }), {
    exitCode: 0,
    stdout: `execlet ${VERSION}\nNode ${process.version}\nEngine 28.5.2 (API 1.51) at ${endpoint}\n`,
    stderr: '',
  });
});

test('an Engine that is not there, or is none, does not keep the other versions back', async context => {
  const other = await listen(context, (_request, response) => response.end('{"hello":"world"}'));
  for (const [endpoint, reason] of [
    ['unix:///nonexistent/docker.sock', 'does not answer (connect ENOENT /nonexistent/docker.sock)'],
    [other, 'is not an Engine'],
  ] as const) {
    const { exitCode, stdout, stderr } = await execlet(['version', '--docker-endpoint', endpoint]);
    assert.equal(stdout, `execlet ${VERSION}\nNode ${process.version}\nEngine unknown: ${endpoint} ${reason}\n`);
    assert.equal(exitCode, 0);
    assert.equal(stderr, '');
  }
});

test('an Engine that takes the request and never answers is not waited for', async context => {
  const endpoint = await listen(context, () => undefined);
  const { exitCode, stdout } = await execlet(['version', '--docker-endpoint', endpoint]);
  assert.match(stdout, /\nEngine unknown: .* does not answer \(not within 2 s\)\n$/);
  assert.equal(exitCode, 0);
});

test('a malformed endpoint is one line that names where it was given, and exit code 2', async () => {
  const flag = await execlet(['version', '--docker-endpoint', 'docker.sock']);
  assert.deepEqual(
    [flag.exitCode, flag.stderr],
    [2, 'execlet: --docker-endpoint: "docker.sock" is not an endpoint of the Engine\n'],
  );
  const env = await execlet(['version'], { env: { DOCKER_HOST: 'ssh://host' } });
  assert.deepEqual(
    [env.exitCode, env.stderr],
    [2, 'execlet: DOCKER_HOST: "ssh://host" is not an endpoint of the Engine\n'],
  );
});
