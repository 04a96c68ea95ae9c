import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { test, type TestContext } from 'node:test';
import { requestJson } from '../../../src/client/api-request.ts';
import type { Connection } from '../../../src/client/connection.ts';

/** A connection to a server that answers as told, until the test ends. */
async function serve(context: TestContext, answer: RequestListener): Promise<Connection> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return { server: new URL(`http://127.0.0.1:${address.port}`), tls: { rejectUnauthorized: true }, token: 'secret' };
}

test('answers the JSON, and sends path, query and credentials', async context => {
  const connection = await serve(context, ({ method, url, headers }, response) => {
    response.end(JSON.stringify([method, url, headers.accept, headers.authorization]));
  });
  const query = new URLSearchParams({ a: '1' });
  assert.deepEqual(await requestJson(connection, '/x', { accept: 'application/json;as=Table', query }), [
    'GET',
    '/x?a=1',
    'application/json;as=Table',
    'Bearer secret',
  ]);
});

const FAILURES: [title: string, answer: RequestListener, message: string | RegExp][] = [
  [
    'a Status shows its message',
    (_request, response) => response.writeHead(404).end('{"kind":"Status","message":"pods \\"x\\" not found"}'),
    'pods "x" not found',
  ],
  [
    'a 403 shows that it is one',
    (_request, response) => response.writeHead(403).end('no\n'),
    'the server answered 403 Forbidden: no',
  ],
  [
    'an empty 500 shows the status line',
    (_request, response) => response.writeHead(500).end(),
    /500 Internal Server Error$/,
  ],
  [
    'a redirect is not followed',
    (_request, response) => response.writeHead(302, { location: '/y' }).end(),
    /302 Found/,
  ],
  ['other content than JSON', (_request, response) => response.end('<html>'), /not JSON: is it an execlet\?$/],
  ['no answer at all', (_request, response) => response.destroy(), /^cannot reach http:.*the connection was reset/],
  [
    'an answer that is cut off',
    (_request, response) => {
      response.writeHead(200, { 'content-length': 100 }).write('{"a":');
      setImmediate(() => response.destroy());
    },
    /^cannot reach http:/,
  ],
];
for (const [title, answer, message] of FAILURES) {
  test(`fails clearly: ${title}`, async context => {
    const connection = await serve(context, answer);
    await assert.rejects(requestJson(connection, '/x'), { name: 'ClientError', message, exitCode: 1 });
  });
}
