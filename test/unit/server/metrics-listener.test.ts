import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { test, type TestContext } from 'node:test';
import { listenForMetrics, type MetricsListener } from '../../../src/server/metrics-listener.ts';

async function listener(context: TestContext): Promise<MetricsListener> {
  const scrape = (accept: string | undefined) =>
    accept === 'application/broken'
      ? Promise.reject(new Error('no metrics'))
      : Promise.resolve({ contentType: `text/plain; of=${accept ?? 'nothing'}`, text: 'metrics\n' });
  const listening = await listenForMetrics({ host: '127.0.0.1', port: 0, scrape });
  context.after(() => listening.close());
  return listening;
}

test('serves /metrics and nothing else, to everybody', async context => {
  const { port } = await listener(context);
  const ask = async (path: string, method = 'GET', accept = 'a/b') => {
    const headers = { Accept: accept, Connection: 'close' };
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, headers });
    return [response.status, response.headers.get('Content-Type'), await response.text()];
  };
  const plain = 'text/plain; charset=utf-8';
  assert.deepEqual(await ask('/metrics'), [200, 'text/plain; of=a/b', 'metrics\n']);
  assert.deepEqual(await ask('/metrics?name=a'), [200, 'text/plain; of=a/b', 'metrics\n']);
  assert.deepEqual(await ask('/metrics', 'HEAD'), [200, 'text/plain; of=a/b', '']);
  assert.deepEqual(await ask('/metrics', 'GET', 'application/broken'), [500, plain, 'Error: no metrics']);
  for (const path of ['/', '/Metrics', '/metrics/', '/metrics/x', '/pods', '/healthz', '/exec/default/web/app']) {
    assert.deepEqual(await ask(path), [404, plain, '404 page not found\n'], path);
  }
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) assert.equal((await ask('/metrics', method))[0], 404);
});

test('an upgrade is a request like any other', async context => {
  const { port } = await listener(context);
  const socket = connect(port, '127.0.0.1');
  const upgrade = 'Connection: close, Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n';
  socket.end(`POST /exec/default/web/app?command=id HTTP/1.1\r\nHost: a\r\n${upgrade}`);
  assert.match(await text(socket), /^HTTP\/1\.1 404 Not Found\r\n/);
});

test('a scraper that does not wait for its answer is cut off: each takes time of everybody', async context => {
  let scrapes = 0;
  const scrape = () => {
    scrapes += 1;
    return Promise.resolve({ contentType: 'text/plain', text: 'metrics\n' });
  };
  const listening = await listenForMetrics({ host: '127.0.0.1', port: 0, scrape });
  context.after(() => listening.close());
  const socket = connect(listening.port, '127.0.0.1');
  socket.on('error', () => undefined).resume(); // a reset is an end, too
  socket.write('GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(1_000));
  await once(socket, 'close');
  assert.equal(scrapes, 1);
});

test('of the connections of one who holds them only so many are taken', async context => {
  const { port } = await listener(context);
  const held = await Promise.all(
    Array.from({ length: 32 }, async () => {
      const socket = connect(port, '127.0.0.1');
      context.after(() => socket.destroy());
      socket.write('GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n');
      await once(socket, 'data');
      return socket;
    }),
  );
  const more = connect(port, '127.0.0.1');
  more.on('error', () => undefined); // a reset is an end, too
  await once(more, 'close');
  const [first] = held;
  assert.ok(first);
  first.destroy();
  await once(first, 'close');
});

test('rejects where it cannot listen, and closes with what is open', async context => {
  const listening = await listener(context);
  const { port } = listening;
  await assert.rejects(
    listenForMetrics({ host: '127.0.0.1', port, scrape: () => Promise.reject(new Error('never asked')) }),
    { code: 'EADDRINUSE' },
  );
  const idle = connect(port, '127.0.0.1');
  await once(idle, 'connect');
  const ended = once(idle, 'close');
  idle.write('GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n');
  await once(idle, 'data');
  listening.close();
  idle.resume();
  await ended;
});
