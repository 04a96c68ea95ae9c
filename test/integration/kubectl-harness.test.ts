import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { before, test } from 'node:test';
import { findKubectls, type Kubectl } from '../support/kubectl.ts';

let kubectls: Kubectl[];

before(async () => {
  kubectls = await findKubectls();
});

test('there is a kubectl 1.20, and one that begins with WebSocket', () => {
  assert.ok(kubectls.some(({ version }) => version.startsWith('1.20.')));
  assert.ok(kubectls.some(({ transports }) => transports[0] === 'websocket'));
});

test('each kubectl speaks what the harness says of it, unasked and when made to', async t => {
  const server = await startApiServer();
  t.after(() => server.close());
  for (const kubectl of kubectls) {
    const [unasked] = kubectl.transports;
    for (const transport of [undefined, ...kubectl.transports]) {
      server.upgrades.length = 0;
      const client = await kubectl.against({ server: server.url, ...(transport !== undefined && { transport }) });
      await client.run(['exec', 'pod', '--', 'true']);
      // Refused over WebSocket, kubectl tries SPDY: the first request is the one that counts.
      assert.equal(server.upgrades[0], transport ?? unasked, `${kubectl.name}, ${transport ?? 'unasked'}`);
    }
  }
});

test('no kubectl below 1.29 can be made to speak WebSocket', async t => {
  const server = await startApiServer();
  t.after(() => server.close());
  for (const kubectl of kubectls.filter(({ transports }) => !transports.includes('websocket'))) {
    server.upgrades.length = 0;
    const client = await kubectl.against({ server: server.url });
    await client.run(['exec', 'pod', '--', 'true'], { env: { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'true' } });
    assert.deepEqual(server.upgrades, ['spdy'], kubectl.name);
  }
});

/** As much of an API server as brings kubectl to the upgrade, which it notes and refuses. */
async function startApiServer(): Promise<{ url: string; upgrades: string[]; close: () => void }> {
  const upgrades: string[] = [];
  const server = createServer(answer);
  server.on('upgrade', (request, socket) => {
    upgrades.push(request.headers.upgrade === 'SPDY/3.1' ? 'spdy' : String(request.headers.upgrade));
    socket.on('error', () => undefined);
    socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${portOf(server.address())}`, upgrades, close: () => void server.close() };
}

const RESOURCES: Readonly<Record<string, unknown>> = {
  '/version': { major: '1', minor: '32', gitVersion: 'v1.32.0' },
  '/api': { kind: 'APIVersions', versions: ['v1'] },
  '/apis': { kind: 'APIGroupList', apiVersion: 'v1', groups: [] },
  '/api/v1': {
    kind: 'APIResourceList',
    groupVersion: 'v1',
    resources: [{ name: 'pods', singularName: 'pod', namespaced: true, kind: 'Pod', verbs: ['get'] }],
  },
  '/api/v1/namespaces/default/pods/pod': {
    kind: 'Pod',
    apiVersion: 'v1',
    metadata: { name: 'pod', namespace: 'default' },
    spec: { containers: [{ name: 'container' }] },
    status: { phase: 'Running' },
  },
};

function answer(request: IncomingMessage, response: ServerResponse): void {
  const resource = RESOURCES[(request.url ?? '').replace(/\?.*/, '')];
  response.writeHead(resource === undefined ? 404 : 200, { 'Content-Type': 'application/json', Connection: 'close' });
  response.end(JSON.stringify(resource ?? {}));
}

function portOf(address: AddressInfo | string | null): number {
  assert.ok(address !== null && typeof address === 'object');
  return address.port;
}
