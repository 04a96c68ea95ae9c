import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Pipelining } from '../../../src/server/pipelining.ts';

interface Seen {
  readonly client: Socket;
  /** What was let through, in order: method and path, or `upgrade`. */
  readonly taken: string[];
  /** Answers that have not been given yet. */
  readonly unanswered: ServerResponse[];
  /** Resolves with the next thing that happens to the connection: a request, an upgrade, or its end. */
  readonly next: () => Promise<void>;
}

/** A connection to a server that takes upgrades to WebSocket only, and answers nothing by itself. */
async function connected(context: TestContext): Promise<Seen> {
  const pipelining = new Pipelining({ maxUnanswered: 3 });
  const taken: string[] = [];
  const unanswered: ServerResponse[] = [];
  let wake = (): void => undefined;
  const options = { shouldUpgradeCallback: ({ headers }: IncomingMessage) => headers.upgrade === 'websocket' };
  const server = createServer(options, (request, response) => {
    if (pipelining.takesRequest(request, response)) {
      taken.push(`${request.method ?? ''} ${request.url ?? ''}`);
      unanswered.push(response);
    }
    wake();
  });
  server.on('upgrade', (_request, socket) => {
    socket.on('error', () => undefined);
    if (pipelining.takesUpgrade(socket)) taken.push('upgrade');
    wake();
  });
  server.on('clientError', (_error, socket) => socket.destroy());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  client.on('error', () => undefined).on('close', () => wake());
  await once(client, 'connect');
  context.after(() => {
    client.destroy();
    server.closeAllConnections();
    server.close();
  });
  return { client, taken, unanswered, next: () => new Promise(resolve => (wake = resolve)) };
}

/** Rejects where the connection is still open after some seconds. */
async function closed(client: Socket): Promise<void> {
  if (!client.closed) await once(client, 'close', { signal: AbortSignal.timeout(5_000) });
}

const get = (path: string, headers = ''): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`;
const UPGRADE = 'Connection: Upgrade\r\nUpgrade: websocket\r\n';

test('what follows an upgrade that was not taken is no request, also before its answer', async context => {
  const { client, taken, next } = await connected(context);
  const inner = get('/inner');
  const offer = get('/offer', 'Connection: Upgrade\r\nUpgrade: h2c\r\n');
  let something = next();
  client.write(`${offer}POST /outer HTTP/1.1\r\nHost: a\r\nContent-Length: ${inner.length}\r\n\r\n`);
  await something;
  assert.deepEqual(taken, ['GET /offer']);
  something = next();
  client.write(inner); // a read of its own: Node has forgotten whose body it is
  await something;
  assert.deepEqual(taken, ['GET /offer']);
  await closed(client);
});

test('an upgrade behind a request that is not answered yet closes the connection', async context => {
  const { client, taken, next } = await connected(context);
  const something = next();
  client.write(get('/slow'));
  await something;
  client.write(get('/exec', UPGRADE));
  await closed(client);
  assert.deepEqual(taken, ['GET /slow']);
});

test('requests one behind the other are taken, and an upgrade behind those that were answered', async context => {
  const { client, taken, unanswered, next } = await connected(context);
  for (const path of ['/one', '/two']) {
    const something = next();
    client.write(get(path));
    await something;
    const response = unanswered.shift();
    assert.ok(response !== undefined);
    response.end();
    await once(response, 'close');
    await turn();
  }
  const something = next();
  client.write(get('/exec', UPGRADE));
  await something;
  assert.deepEqual(taken, ['GET /one', 'GET /two', 'upgrade']);
});

test('of requests that come at once only so many are taken, and the connection is closed', async context => {
  const { client, taken, next } = await connected(context);
  const something = next();
  client.write(get('/').repeat(1_000));
  await something;
  await closed(client);
  assert.deepEqual(taken, ['GET /', 'GET /', 'GET /']);
});
