import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { Authority } from '../../support/authority.ts';
import { execlet } from './execlet.ts';

/** Answers the port of a server on the loopback address, until the test ends. */
async function listen(context: TestContext, server: ReturnType<typeof createServer>): Promise<number> {
  server.listen(0, '127.0.0.1');
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

const answerWell: RequestListener = ({ url }, response) => response.end(`asked ${url ?? ''}\n`);

test('asks whether it lives, or whether it is ready, and shows the checks', async context => {
  const server = `http://127.0.0.1:${await listen(context, createServer(answerWell))}`;
  const asked = (path: string) => ({ exitCode: 0, stdout: `asked ${path}?verbose\n`, stderr: '' });
  assert.deepEqual(await execlet(['health', '--server', server]), asked('/livez'));
  assert.deepEqual(await execlet(['health', '--server', server, '--ready']), asked('/readyz'));
});

test('a certificate of whomever will do', async context => {
  const nobody = await Authority.create('nobody');
  const { cert, key } = await nobody.issue({ commonName: 'elsewhere', sans: ['elsewhere'] });
  const port = await listen(context, createTlsServer({ cert, key }, answerWell));
  const { exitCode } = await execlet(['health', '--server', `https://127.0.0.1:${port}`]);
  assert.equal(exitCode, 0);
});

test('a failed check exits with 1 and is shown', async context => {
  const port = await listen(
    context,
    createServer((_request, response) => response.writeHead(503).end('[-]engine failed: it does not answer\n')),
  );
  const { exitCode, stdout } = await execlet(['health', '--ready', '--server', `http://127.0.0.1:${port}`]);
  assert.equal(exitCode, 1);
  assert.equal(stdout, '[-]engine failed: it does not answer\n');
});

test('an answer without an end is not taken to the end', async context => {
  const endless: RequestListener = (_request, response) => {
    const fill = (): void => {
      while (response.write(Buffer.alloc(65_536, 'x')));
    };
    response.on('drain', fill);
    fill();
  };
  const port = await listen(context, createServer(endless));
  const { exitCode, stdout, stderr } = await execlet(['health', '--server', `http://127.0.0.1:${port}`]);
  assert.deepEqual([exitCode, stderr], [0, '']);
  assert.ok(stdout.length < 1_000_000, `${stdout.length} characters`);
});

test('what whoever answers says does not steer the terminal', async context => {
  const port = await listen(
    context,
    createServer((_request, response) => response.end('[+]ok\n\u001b[2J\u009b\r\n')),
  );
  const { stdout } = await execlet(['health', '--server', `http://127.0.0.1:${port}`]);
  assert.equal(stdout, '[+]ok\n?[2J??\n');
});

test('nobody there, nobody who answers, and no URL', async context => {
  const silent = await listen(
    context,
    createServer(() => undefined),
  );
  for (const [server, exitCode, line] of [
    [
      'http://127.0.0.1:1',
      1,
      /^execlet: the daemon at http:\/\/127\.0\.0\.1:1 does not answer \(connect ECONNREFUSED .*\)\n$/,
    ],
    [`http://127.0.0.1:${silent}`, 1, /does not answer \(not within 5 s\)\n$/],
    ['127.0.0.1', 2, /^execlet: --server: "127\.0\.0\.1" is not an http:\/\/ or https:\/\/ URL\n$/],
  ] as const) {
    const result = await execlet(['health', '--server', server]);
    assert.equal(result.exitCode, exitCode);
    assert.match(result.stderr, line);
  }
});
