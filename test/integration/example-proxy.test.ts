import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { type AddressInfo, Socket } from 'node:net';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Credentials } from '../support/access.ts';
import { dial } from '../support/dial.ts';
import { ExampleProxy, type ProxiedExec } from '../support/example-proxy.ts';

const PODS = '/api/v1/namespaces/default/pods';
const UPGRADES = ['SPDY upgrade', 'WebSocket upgrade'] as const;

const credentials = await Credentials.make('example-proxy');
const certificate = await credentials.user('alice', 'dev');

/** A node as a test wants it: it has the pods that are named, and answers their execs so. */
class StandInNode {
  pods: readonly string[] = [];
  /** What it knows of the pods that it does not have. */
  fate = '';
  exec: (response: ServerResponse) => void = response => response.writeHead(404).end();
  list: (response: ServerResponse) => void = response => response.end('{"kind":"PodList","items":[]}');
  readonly asked: { readonly url: string; readonly headers: IncomingMessage['headers'] }[] = [];
  readonly #server: Server;

  constructor(server: Server) {
    this.#server = server;
    const take = (request: IncomingMessage, response: ServerResponse): void => {
      const { url = '', headers } = request;
      this.asked.push({ url, headers });
      const pod = url.startsWith(`${PODS}/`) ? url.slice(PODS.length + 1).split(/[/?]/, 1)[0] : undefined;
      if (url.includes('/exec?')) this.exec(response);
      else if (pod === undefined) this.list(response);
      else if (this.pods.includes(pod)) response.end('{"kind":"Pod"}');
      else response.writeHead(404).end(`{"kind":"Status","message":"pods \\"${pod}\\" not found${this.fate}"}`);
    };
    server.on('request', take);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** With a listener of upgrades the server gives no answers to them; without one it takes them for plain requests. */
  onUpgrade(play: (socket: Socket) => void): void {
    this.#server.once('upgrade', (_request, socket) => {
      socket.on('error', () => undefined);
      if (socket instanceof Socket) play(socket);
    });
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

async function standIn(): Promise<StandInNode> {
  const server = createServer(await credentials.serverCertificate());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return new StandInNode(server);
}

let nodes: [StandInNode, StandInNode];
let proxy: ExampleProxy;
let lastPod = 0;
/** A name that the proxy does not remember. */
let pod: string;

before(async () => {
  nodes = [await standIn(), await standIn()];
  proxy = await ExampleProxy.start(credentials, {
    nodes: nodes.map(({ port }, index) => ({ name: `node-${index + 1}`, url: `https://127.0.0.1:${port}` })),
  });
});
after(async () => {
  await proxy.stop();
  for (const node of nodes) node.close();
});
beforeEach(() => {
  pod = `web-${(lastPod += 1)}`;
  nodes[0].pods = [pod];
  nodes[1].pods = [];
  for (const node of nodes) node.asked.length = 0;
});

const execPath = (query = 'command=id&stdout=true'): string => `${PODS}/${pod}/exec?${query}`;
const ask = (path: string, shape: Parameters<Credentials['ask']>[2], headers = {}): ReturnType<Credentials['ask']> =>
  credentials.ask(proxy.port, path, shape, { certificate, headers });
const inPod = ({ path }: ProxiedExec): boolean => path.includes(`/pods/${pod}/`);
const messageOf = (body: string): string => (JSON.parse(body) as { message: string }).message;

for (const shape of UPGRADES) {
  describe(`a node answers a ${shape}`, () => {
    test('with a refusal: it is passed on whole, with what a client needs to know', async () => {
      const body = '{"kind":"Status","message":"too many sessions"}';
      nodes[0].exec = response => {
        response
          .writeHead(429, { 'Content-Type': 'application/json', 'Retry-After': '7', 'Set-Cookie': 'a=b' })
          .end(body);
      };
      const answer = await ask(execPath(), shape);
      assert.deepEqual([answer.status, answer.body, answer.headers['retry-after']], [429, body, '7']);
      assert.equal(answer.headers['set-cookie'], undefined);
      assert.equal(answer.headers.connection, 'close');
    });

    for (const status of [200, 301, 302, 307, 308]) {
      test(`with ${status}: nobody follows it, and nobody is told where it leads`, async () => {
        nodes[0].exec = response => {
          response.writeHead(status, { Location: `https://127.0.0.1:${nodes[1].port}/elsewhere` }).end();
        };
        const answer = await ask(execPath(), shape);
        assert.equal(answer.status, 503);
        assert.equal(messageOf(answer.body), `node node-1 gave an answer that is not passed on: ${status}`);
        assert.equal(answer.headers.location, undefined);
        assert.deepEqual(
          nodes[1].asked.map(({ url }) => url),
          [`${PODS}/${pod}`],
        );
      });
    }

    test('with 401: the proxy is at fault, and not the caller', async () => {
      nodes[0].exec = response => response.writeHead(401).end('Unauthorized');
      const answer = await ask(execPath(), shape);
      assert.equal(answer.status, 503);
      assert.match(messageOf(answer.body), /node-1 .*does not accept the credential of this proxy$/);
    });

    test('by closing the connection: the error names the node', async () => {
      nodes[0].exec = response => response.destroy();
      const answer = await ask(execPath(), shape);
      assert.equal(answer.status, 503);
      assert.match(messageOf(answer.body), /^node node-1 does not answer: /);
    });
  });

  test(`${shape}: of the query and the headers only what makes an exec reaches the node`, async () => {
    const query = 'command=sh&command=-c&command=echo+%FF%3F?&stdout=1&container=app&env=A%3DB&e%6Ev=C&other=x';
    await ask(execPath(query), shape, {
      'X-Remote-Uid': '0',
      'X-Other': 'x',
      Forwarded: 'for=192.0.2.1',
      Cookie: 'a=b',
    });
    const sent = nodes[0].asked.at(-1);
    assert.equal(sent?.url, execPath('command=sh&command=-c&command=echo+%FF%3F?&stdout=1&container=app'));
    const { host, ...headers } = sent.headers;
    assert.equal(host, `127.0.0.1:${nodes[0].port}`);
    const handshake = shape === 'SPDY upgrade' ? ['x-stream-protocol-version'] : WEBSOCKET_HANDSHAKE;
    assert.deepEqual(
      Object.keys(headers)
        .filter(name => name !== 'content-length')
        .sort(),
      [...IDENTITY, 'connection', 'upgrade', ...handshake].sort(),
    );
  });

  test(`${shape}: a token that is disguised as a subprotocol stays with the proxy`, async () => {
    const token = 'base64url.bearer.authorization.k8s.io.dG9rZW4';
    await ask(execPath(), shape, { 'Sec-WebSocket-Protocol': `v5.channel.k8s.io, ${token}` });
    assert.equal(nodes[0].asked.at(-1)?.headers['sec-websocket-protocol'], 'v5.channel.k8s.io');
  });

  test(`${shape}: a request with a body is refused`, async () => {
    const { status } = await ask(execPath(), shape, { 'Content-Length': '5' });
    assert.equal(status, 400);
  });
}

const IDENTITY = [
  ...['audit-id', 'x-forwarded-for', 'x-remote-user', 'x-remote-group'],
  'x-remote-extra-authentication.kubernetes.io%2fcredential-id',
];
const WEBSOCKET_HANDSHAKE = ['sec-websocket-key', 'sec-websocket-version', 'sec-websocket-protocol'];

for (const [user, group] of [
  ['alice ', 'dev'],
  [' alice', 'dev'],
  ['alice', ' ops'],
  ['ali\tce', 'dev'],
] as const) {
  test(`${JSON.stringify(user)} of ${JSON.stringify(group)} would be somebody else behind a header, and is refused`, async () => {
    const shown = { certificate: await credentials.user(user, group) };
    for (const [path, shape] of [
      [PODS, 'GET'],
      [`${PODS}/${pod}`, 'GET'],
      [execPath(), 'SPDY upgrade'],
    ] as const) {
      assert.equal((await credentials.ask(proxy.port, path, shape, shown)).status, 403, path);
    }
    assert.deepEqual(nodes[0].asked, []);
  });
}

describe('which node', () => {
  test('a pod that two nodes have is on neither: the error names both', async () => {
    nodes[1].pods = [pod];
    const answer = await ask(execPath(), 'SPDY upgrade');
    assert.deepEqual(
      [answer.status, messageOf(answer.body)],
      [409, `pods "${pod}" is on several nodes: node-1, node-2`],
    );
  });

  test('a pod that no node has is 404, in the words of a node', async () => {
    nodes[0].pods = [];
    const answer = await ask(execPath(), 'WebSocket upgrade');
    assert.deepEqual([answer.status, messageOf(answer.body)], [404, `pods "${pod}" not found`]);
  });

  for (const index of [0, 1] as const) {
    test(`what became of a pod is said, whichever node knows: node-${index + 1}`, async t => {
      nodes[0].pods = [];
      const knows = nodes[index];
      knows.fate = ': it was removed';
      t.after(() => (knows.fate = ''));
      const answer = await ask(execPath(), 'SPDY upgrade');
      assert.deepEqual([answer.status, messageOf(answer.body)], [404, `pods "${pod}" not found: it was removed`]);
    });
  }

  test('names that are no names, other paths and other methods', async () => {
    for (const [path, shape, status] of [
      [`${PODS}/../pods/x/exec?command=id`, 'SPDY upgrade', 404],
      [`${PODS}/a%2Fb/exec?command=id`, 'SPDY upgrade', 404],
      [execPath(), 'GET', 400],
      ['/api/v1/nodes', 'GET', 404],
      ['/api/v1/namespaces', 'GET', 404],
      ['/api/v1/namespaces/a%2Fb', 'GET', 404],
      ['/api/v1/namespaces/shop', 'POST', 405],
      [`/exec/default/${pod}/app?command=id`, 'SPDY upgrade', 404],
      [PODS, 'POST', 405],
    ] as const) {
      assert.equal((await ask(path, shape)).status, status, path);
    }
    assert.deepEqual(
      nodes.map(({ asked }) => asked.length),
      [0, 0],
    );
  });
});

describe('lists', () => {
  const listed = (name: string): string => `{"kind":"PodList","items":[{"metadata":{"name":"${name}"}}]}`;

  for (const [what, list] of [
    ['no JSON', (response: ServerResponse) => response.end('oops')],
    ['a refusal', (response: ServerResponse) => response.writeHead(503).end('{"message":"oops, \\"quoted\\"\\n"}')],
    ['a redirect', (response: ServerResponse) => response.writeHead(302, { Location: '/' }).end()],
    [
      'half an answer',
      (response: ServerResponse) => {
        response.writeHead(200, { 'Content-Length': '100' }).write('{');
        setImmediate(() => response.destroy());
      },
    ],
  ] as const) {
    test(`a node that gives ${what} is named in a warning, and the other's pods are listed`, async () => {
      nodes[0].list = list;
      nodes[1].list = response => response.end(listed('there'));
      const answer = await ask('/api/v1/pods', 'GET');
      assert.deepEqual([answer.status, answer.body], [200, listed('there')]);
      assert.match(String(answer.headers.warning), /^299 - "the pods of node node-1 are missing: [^\n]*"$/);
    });
  }

  test('where no node has a list, its refusal is the answer', async () => {
    const body = '{"kind":"Status","message":"no watches"}';
    for (const node of nodes) node.list = response => response.writeHead(405).end(body);
    const answer = await ask('/api/v1/pods?watch=true', 'GET');
    assert.deepEqual([answer.status, answer.body], [405, body]);
  });
});

test("a refusal of the proxy has details, as an API server's has: kubectl debug panics without", async () => {
  const answer = await ask(`${PODS}/${pod}/ephemeralcontainers`, 'GET');
  assert.deepEqual(JSON.parse(answer.body), {
    ...{ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', details: {} },
    ...{ message: 'the server could not find the requested resource', reason: 'NotFound', code: 404 },
  });
});

test('clients that reset at any moment end nothing but themselves', async () => {
  const head = `POST ${execPath()} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n`;
  nodes[0].exec = () => undefined; // and the node keeps them waiting
  for (const sent of ['', head, `${head}\r\n`, `${head}\r\nmore`]) {
    for (const waits of [false, true]) {
      const { socket, reset } = await dial({ port: proxy.port, ca: credentials.servers.certificate, certificate });
      socket.on('error', () => undefined);
      const before = nodes[0].asked.length;
      if (sent !== '') socket.write(sent);
      while (waits && sent.includes('\r\n\r\n') && nodes[0].asked.length === before) await new Promise(setImmediate);
      reset();
    }
  }
  nodes[0].exec = response => response.writeHead(418).end('tea');
  assert.equal((await ask(execPath(), 'SPDY upgrade')).status, 418);
});

for (const [what, more] of [
  ['a thousand requests', `GET /api/v1/pods HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(999)],
  [
    'an upgrade',
    `POST ${PODS}/web/exec?command=id HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n`,
  ],
] as const) {
  test(`a client that sends ${what} behind a request without an answer is cut off, and no node is asked for them`, async () => {
    for (const node of nodes) node.list = () => undefined;
    const { socket } = await dial({ port: proxy.port, ca: credentials.servers.certificate, certificate });
    socket.on('error', () => undefined);
    const closed = once(socket, 'close');
    socket.resume().write(`GET /api/v1/pods HTTP/1.1\r\nHost: x\r\n\r\n${more}`);
    await closed;
    for (const node of nodes) node.list = response => response.end('{"kind":"PodList","items":[]}');
    assert.equal((await ask('/api/v1/pods', 'GET')).status, 200);
    for (const { asked } of nodes) assert.ok(asked.length <= 2, `asked ${asked.length} times`);
  });
}

test('one request after the other on one connection', async () => {
  const { socket } = await dial({ port: proxy.port, ca: credentials.servers.certificate, certificate });
  for (let count = 0; count < 3; count += 1) {
    socket.write('GET /api/v1/pods HTTP/1.1\r\nHost: x\r\n\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    assert.match(answer.toString(), /^HTTP\/1\.1 200 OK\r\n/);
  }
  socket.destroy();
});

/** An exec that has arrived at the node, which does not answer: the client's end, and the node's. */
async function execThatWaits(): Promise<{ socket: Socket; reset: () => void; atNode: Socket }> {
  const { promise: asked, resolve } = Promise.withResolvers<Socket>();
  nodes[0].onUpgrade(resolve);
  const { socket, reset } = await dial({ port: proxy.port, ca: credentials.servers.certificate, certificate });
  socket.on('error', () => undefined);
  socket.write(`GET ${execPath()} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
  return { socket, reset, atNode: await asked };
}

for (const how of ['resets', 'hangs up'] as const) {
  test(`a client that ${how} before the node has switched protocols leaves no connection to the node behind`, async () => {
    const { socket, reset, atNode } = await execThatWaits();
    const closed = new Promise<void>(done => atNode.once('close', () => done()));
    atNode.resume();
    if (how === 'resets') reset();
    else await new Promise<void>(done => socket.end(done));
    atNode.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    await closed;
    await proxy.untilEnded(inPod);
  });
}

test('what comes with the handshake, before the 101 or in one piece with it, is part of the session', async () => {
  const atNode = Promise.withResolvers<string>();
  nodes[0].onUpgrade(socket => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfrom the node');
    socket.once('data', (data: Buffer) => atNode.resolve(data.toString()));
  });
  const { socket } = await dial({ port: proxy.port, ca: credentials.servers.certificate, certificate });
  socket.write(
    `GET ${execPath()} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfrom the client`,
  );
  let received = '';
  while (!received.endsWith('\r\n\r\nfrom the node')) {
    const [data] = (await once(socket, 'data', { signal: AbortSignal.timeout(5_000) })) as [Buffer];
    received += data.toString();
  }
  const late = new Promise((_resolve, reject) => setTimeout(reject, 5_000, new Error('nothing came')).unref());
  assert.equal(await Promise.race([atNode.promise, late]), 'from the client');
  socket.destroy();
});

for (const how of ['resets', 'hangs up'] as const) {
  test(`a client that ${how} while the node still thinks is not waited for there`, async () => {
    const { socket, reset, atNode } = await execThatWaits();
    const closed = new Promise<boolean>(done => atNode.resume().once('close', () => done(true)));
    if (how === 'resets') reset();
    else socket.end();
    assert.ok(await Promise.race([closed, delay(5_000, false, { ref: false })]), 'the node is still asked');
    assert.equal((await proxy.untilEnded(inPod)).status, 503);
  });
}

test('a node that ends at once loses nothing of what it sent, to a client that reads late and goes on sending', async () => {
  const sent = Buffer.alloc(8_000_000, 'x');
  nodes[0].onUpgrade(socket => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    socket.end(sent);
    socket.resume();
  });
  const { socket } = await dial({ port: proxy.port, ca: credentials.servers.certificate, certificate });
  socket.on('error', () => undefined);
  socket.write(`GET ${execPath()} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
  let received = 0;
  const ended = once(socket, 'end');
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length;
    socket.write('ping');
    socket.pause(); // 64 KiB at most in each turn of the event loop
    setImmediate(() => socket.resume());
  });
  await ended;
  assert.ok(received > sent.length, `${received} bytes, with the head, of ${sent.length}`);
  socket.end();
  assert.equal((await proxy.untilEnded(inPod)).status, 101);
});

test('a stop of the proxy closes the connections of its sessions on both sides', async () => {
  const { promise: atNode, resolve } = Promise.withResolvers<Socket>();
  nodes[0].onUpgrade(resolve);
  const { socket } = await dial({ port: proxy.port, ca: credentials.servers.certificate, certificate });
  socket.on('error', () => undefined);
  socket.write(`GET ${execPath()} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
  const node = await atNode;
  node.resume().write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
  await once(socket, 'data');
  const closed = Promise.all([once(socket, 'close'), once(node, 'close')]);
  await proxy.stop();
  await closed;
});
