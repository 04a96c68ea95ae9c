import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { kubernetesLabels } from '../support/containers.ts';
import { Daemon } from '../support/daemon.ts';
import { serveWeb } from '../support/served.ts';

const served = serveWeb({
  beforeDaemon: async engine => {
    const labels = kubernetesLabels({ namespace: 'default', pod: 'web', container: 'sidecar' });
    await engine.createContainer({ labels });
  },
});

interface Answer {
  readonly code: number;
  readonly headers: string;
  readonly body: string;
}

/** Sends the request as it stands and reads until the daemon closes. */
async function send(lines: readonly string[], body = ''): Promise<Answer> {
  const socket = connect(served.daemon.port, '127.0.0.1');
  await once(socket, 'connect');
  const hosted = lines.some(line => /^host:/i.test(line)) ? lines : [...lines, 'Host: localhost'];
  socket.write(`${hosted.join('\r\n')}\r\n\r\n${body}`);
  const answer = await text(socket);
  const [head = '', ...rest] = answer.split('\r\n\r\n');
  return { code: Number(head.split(' ')[1]), headers: head, body: rest.join('\r\n\r\n') };
}

const SPDY = ['Connection: Upgrade', 'Upgrade: SPDY/3.1', 'X-Stream-Protocol-Version: v4.channel.k8s.io'];
const WEBSOCKET = [
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
];
const KUBELET = '/exec/default/web/app?command=true&output=1';
const API = '/api/v1/namespaces/default/pods/web/exec?command=true&stdout=true';

function without(headers: readonly string[], name: string): string[] {
  return headers.filter(line => !line.startsWith(`${name}:`));
}

const TEXT_REFUSALS: [title: string, lines: string[], code: number, body: string | RegExp][] = [
  [
    'no stream asked for',
    ['POST /exec/default/web/app?command=true HTTP/1.1', ...SPDY],
    400,
    'you must specify at least 1 of stdin, stdout, stderr',
  ],
  ['unknown pod', ['POST /exec/default/nobody/app?command=true&output=1 HTTP/1.1', ...SPDY], 404, 'pod does not exist'],
  [
    'unknown container',
    ['POST /exec/default/web/nobody?command=true&output=1 HTTP/1.1', ...SPDY],
    404,
    'container not found ("nobody")',
  ],
  ['wrong UID', ['POST /exec/default/web/uid/app?command=true&output=1 HTTP/1.1', ...SPDY], 404, /has no UID uid here/],
  [
    'too few path segments',
    ['POST /exec/default/web?command=true&output=1 HTTP/1.1', ...SPDY],
    404,
    '404: Page Not Found',
  ],
  ['another method', [`PUT ${KUBELET} HTTP/1.1`, ...SPDY], 405, '405: Method Not Allowed'],
  ['no upgrade', [`POST ${KUBELET} HTTP/1.1`, 'Connection: close'], 400, 'Upgrade request required'],
  [
    'another upgrade',
    [`GET ${KUBELET} HTTP/1.1`, 'Connection: Upgrade', 'Upgrade: h2c'],
    400,
    /h2c: this server speaks SPDY\/3.1 and websocket/,
  ],
  [
    'SPDY without versions',
    [`POST ${KUBELET} HTTP/1.1`, ...without(SPDY, 'X-Stream-Protocol-Version')],
    400,
    'unable to upgrade: X-Stream-Protocol-Version is required',
  ],
  [
    'SPDY with no common version',
    [`POST ${KUBELET} HTTP/1.1`, ...without(SPDY, 'X-Stream-Protocol-Version'), 'X-Stream-Protocol-Version: v9'],
    403,
    'unable to upgrade: unable to negotiate protocol: client supports [v9], server accepts [v4.channel.k8s.io v3.channel.k8s.io v2.channel.k8s.io channel.k8s.io]',
  ],
  [
    'SPDY with a body',
    [`POST ${KUBELET} HTTP/1.1`, ...SPDY, 'Content-Length: 3'],
    400,
    'an upgrade request may not have a body',
  ],
  [
    'WebSocket with no common subprotocol',
    [`GET ${KUBELET} HTTP/1.1`, ...WEBSOCKET, 'Sec-WebSocket-Protocol: v2.channel.k8s.io'],
    403,
    '',
  ],
  ['WebSocket by POST', [`POST ${KUBELET} HTTP/1.1`, ...WEBSOCKET], 405, 'bad method'],
  [
    'WebSocket of another version',
    [`GET ${KUBELET} HTTP/1.1`, ...without(WEBSOCKET, 'Sec-WebSocket-Version'), 'Sec-WebSocket-Version: 8'],
    400,
    'missing or bad WebSocket Version',
  ],
  [
    'WebSocket without a key',
    [`GET ${KUBELET} HTTP/1.1`, ...without(WEBSOCKET, 'Sec-WebSocket-Key')],
    400,
    'mismatch challenge/response',
  ],
  ['a foreign Host', [`POST ${KUBELET} HTTP/1.1`, 'Host: evil.example', ...SPDY], 403, /Host header/],
  ['an Origin', [`GET ${KUBELET} HTTP/1.1`, 'Origin: http://localhost:3000', ...WEBSOCKET], 403, /Origin header/],
  ['attach', ['POST /attach/default/web/app?output=1 HTTP/1.1', ...SPDY], 501, /execlet serves exec only/],
  ['port-forward', ['POST /portForward/default/web HTTP/1.1', ...SPDY], 501, /execlet serves exec only/],
  ['logs', ['GET /containerLogs/default/web/app HTTP/1.1', 'Connection: close'], 501, /execlet serves exec only/],
];

for (const [title, lines, code, body] of TEXT_REFUSALS) {
  test(`kubelet form: ${title} is ${code}`, async () => {
    const answer = await send(lines);
    assert.equal(answer.code, code, answer.body);
    if (body instanceof RegExp) assert.match(answer.body, body);
    else assert.equal(answer.body, body);
    assert.match(answer.headers, /content-type: text\/plain; charset=utf-8/i);
    assert.match(answer.headers, /connection: close/i);
  });
}

test('a path that does not decode is 400, with and without an upgrade', async () => {
  for (const headers of [SPDY, ['Connection: close']]) {
    assert.equal((await send(['POST /exec/default/web/%zz?command=x&output=1 HTTP/1.1', ...headers])).code, 400);
    assert.equal((await send(['POST /api/v1/namespaces/%zz/pods/x/exec HTTP/1.1', ...headers])).code, 400);
  }
});

test('an upgrade that a client merely offers does not change the answer of other paths', async () => {
  const answer = await send([
    'GET /version HTTP/1.1',
    'Connection: Upgrade, HTTP2-Settings',
    'Upgrade: h2c',
    'HTTP2-Settings: AAMAAABk',
  ]);
  assert.equal(answer.code, 200);
});

const STATUS_REFUSALS: [title: string, lines: string[], code: number, reason: string, message: RegExp][] = [
  [
    'unknown pod',
    ['POST /api/v1/namespaces/default/pods/nobody/exec?command=x&stdout=true HTTP/1.1', ...SPDY],
    404,
    'NotFound',
    /pod does not exist/,
  ],
  [
    'no container named among two',
    [`POST ${API} HTTP/1.1`, ...SPDY],
    400,
    'BadRequest',
    /^a container name must be specified for pod web, choose one of: \[app sidecar\]$/,
  ],
  [
    'no upgrade',
    [`POST ${API}&container=app HTTP/1.1`, 'Connection: close'],
    400,
    'BadRequest',
    /^Upgrade request required$/,
  ],
  [
    'logs',
    ['GET /api/v1/namespaces/default/pods/web/log HTTP/1.1', 'Connection: close'],
    501,
    'NotImplemented',
    /execlet serves exec only/,
  ],
  [
    'attach',
    ['POST /api/v1/namespaces/default/pods/web/attach HTTP/1.1', ...SPDY],
    501,
    'NotImplemented',
    /execlet serves exec only/,
  ],
];

for (const [title, lines, code, reason, message] of STATUS_REFUSALS) {
  test(`API form: ${title} is a Status with code ${code}`, async () => {
    const answer = await send(lines);
    const status = JSON.parse(answer.body) as { kind: string; code: number; reason: string; message: string };
    assert.deepEqual([answer.code, status.kind, status.code, status.reason], [code, 'Status', code, reason]);
    assert.match(status.message, message);
  });
}

test('the accepted versions are listed where none was common', async () => {
  const { headers } = await send([
    `POST ${KUBELET} HTTP/1.1`,
    ...without(SPDY, 'X-Stream-Protocol-Version'),
    'X-Stream-Protocol-Version: v9',
  ]);
  const listed = headers.match(/^X-Accepted-Stream-Protocol-Versions: .*$/gim)?.map(line => line.split(': ')[1]);
  assert.deepEqual(listed, ['v4.channel.k8s.io', 'v3.channel.k8s.io', 'v2.channel.k8s.io', 'channel.k8s.io']);
});

test('headers of more than 1 MiB are refused, a command just below is not', async () => {
  const long = (length: number): string[] => [
    `POST /exec/default/web/nobody?output=1&command=${'x'.repeat(length)} HTTP/1.1`,
    ...SPDY,
  ];
  assert.equal((await send(long(1_000_000))).code, 404);
  assert.equal((await send(long(1_100_000))).code, 431);
});

test('health endpoints answer without more ado', async () => {
  for (const path of ['/healthz', '/livez', '/readyz']) {
    const response = await fetch(`${served.daemon.url}${path}`);
    assert.deepEqual([response.status, await response.text()], [200, 'ok'], path);
  }
  assert.match(await (await fetch(`${served.daemon.url}/readyz?verbose`)).text(), /\[\+\]engine ok/);
});

test('without an Engine the daemon starts, says so, is not ready, and refuses execs with 503', async () => {
  const lonely = await Daemon.start({ engine: { dockerHost: 'unix:///nonexistent/docker.sock' } });
  const ready = await fetch(`${lonely.url}/readyz`);
  assert.equal(ready.status, 503);
  assert.match(await ready.text(), /engine failed: the Engine at unix:\/\/\/nonexistent\/docker.sock does not answer/);
  assert.equal((await fetch(`${lonely.url}${KUBELET}`)).status, 503);
  // Not an empty list: kubectl would say that there are no pods.
  const pods = await fetch(`${lonely.url}/api/v1/pods`);
  assert.deepEqual([pods.status, ((await pods.json()) as { reason: string }).reason], [503, 'ServiceUnavailable']);
  await lonely.waitForLog(line => line.message === 'engine unavailable');
  await lonely.stop();
});
