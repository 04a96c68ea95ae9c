import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { writeServerCertificate } from '../support/certificates.ts';
import { temporaryDirectory } from '../support/cleanup.ts';
import { Daemon } from '../support/daemon.ts';
import { RawConnection, witnessed } from '../support/hostile.ts';
import { serveWeb } from '../support/served.ts';

// HTTP that no client of ours sends. Each refusal is a status and a text, and closes the connection.

const { path: directory, remove } = await temporaryDirectory('hostile');
const { certFile, keyFile } = await writeServerCertificate(directory);
after(remove);
let tlsDaemon: Daemon | undefined;
const served = serveWeb({
  beforeDaemon: async engine => {
    tlsDaemon = await Daemon.start({ engine, args: ['--tls-cert-file', certFile, '--tls-private-key-file', keyFile] });
  },
});
after(() => tlsDaemon?.stop());
const withstands = witnessed(served);

const TIMES = 20;
const MIB = 1024 * 1024;
/** Longer than the daemon's own limits for a request to arrive, by a second for it to look and one for a busy machine. */
const HEADERS_TIMEOUT_MS = 12_000;
const REQUEST_TIMEOUT_MS = 17_000;

const EXEC = '/exec/default/web/app';
const TRUE = `${EXEC}?command=true&output=1`;
const VERSIONS = 'X-Stream-Protocol-Version: v4.channel.k8s.io';
const SPDY = ['Connection: Upgrade', 'Upgrade: SPDY/3.1', VERSIONS];
const CLOSE = ['Connection: close'];

function request(line: string, headers: readonly string[] = [], behind = ''): string {
  return `${[`${line} HTTP/1.1`, 'Host: localhost', ...headers].join('\r\n')}\r\n\r\n${behind}`;
}

interface Row {
  readonly title: string;
  readonly sent: string;
  readonly code: number;
  readonly text: RegExp;
  readonly times?: number;
}

const METHODS: Row[] = [
  { title: 'PUT', sent: request(`PUT ${TRUE}`, SPDY), code: 405, text: /^405: Method Not Allowed$/ },
  { title: 'DELETE', sent: request(`DELETE ${TRUE}`, CLOSE), code: 405, text: /^405: Method Not Allowed$/ },
  { title: 'TRACE', sent: request(`TRACE ${TRUE}`, CLOSE), code: 405, text: /^405: Method Not Allowed$/ },
  { title: 'OPTIONS *', sent: request('OPTIONS *', CLOSE), code: 404, text: /^404: Page Not Found$/ },
  { title: 'CONNECT', sent: request('CONNECT localhost:22'), code: 405, text: /^405: Method Not Allowed$/ },
  { title: 'a method that nobody knows', sent: request('EXEC /'), code: 400, text: /no HTTP request/ },
];

const TARGETS: Row[] = [
  { title: 'an absolute target', sent: request(`GET http://localhost${TRUE}`, SPDY), code: 404, text: /^404/ },
  { title: 'a NUL', sent: request('GET /exec/default/\0/app'), code: 400, text: /no HTTP request/ },
  { title: 'a control character', sent: request('GET /exec/default/\x1b[2J/app'), code: 400, text: /no HTTP request/ },
  { title: 'an encoded NUL', sent: request('GET /exec/a/%00/c?command=x&output=1', SPDY), code: 404, text: /^404/ },
  { title: 'an encoded slash', sent: request('GET /exec/a/b%2fc?command=x&output=1', SPDY), code: 404, text: /^404/ },
  { title: 'dots', sent: request('GET /exec/../web/app?command=x&output=1', SPDY), code: 404, text: /^404/ },
  { title: 'encoding that is none', sent: request('GET /exec/a/b/%f0%28', SPDY), code: 400, text: /percent-encoding/ },
  { title: 'a query that is all marks', sent: request(`GET ${EXEC}????&&&===`, SPDY), code: 400, text: /at least 1/ },
  { title: 'a query without encoding', sent: request(`GET ${EXEC}?%zz=%&output`, SPDY), code: 400, text: /at least 1/ },
];

// A request may have 1 MiB. What is made of it must take time that grows with its length, and not with the length's square.
const LARGE: Row[] = [
  { title: '500 000 path segments', sent: request(`GET /exec${'/a'.repeat(500_000)}`, SPDY), code: 404, text: /^404/ },
  { title: '1 000 000 slashes', sent: request(`GET ${'/'.repeat(1_000_000)}`, CLOSE), code: 404, text: /^404/ },
  {
    title: '300 000 encoded letters',
    sent: request(`GET ${EXEC}${'%41'.repeat(300_000)}?output=1&command=x`, SPDY),
    code: 404,
    text: /container not found/,
  },
  {
    title: '250 000 parameters',
    sent: request(`GET ${EXEC}?${'&a=1'.repeat(250_000)}`, SPDY),
    code: 400,
    text: /more than 65536 parameters/,
  },
  {
    title: '65 536 parameters',
    sent: request(`GET ${EXEC}?${'a=1&'.repeat(65_535)}`, SPDY),
    code: 400,
    text: /at least 1/,
  },
  {
    title: '250 000 parameters for a probe',
    sent: request(`GET /readyz?${'&a=1'.repeat(250_000)}`, CLOSE),
    code: 200,
    text: /^ok$/,
  },
  {
    title: '30 000 terms in a label selector',
    sent: request(`GET /api/v1/pods?labelSelector=${'a,'.repeat(30_000)}`, CLOSE),
    code: 200,
    text: /"items":\[\]/,
  },
  {
    title: '500 000 terms in a label selector',
    sent: request(`GET /api/v1/pods?labelSelector=${'a,'.repeat(500_000)}`, CLOSE),
    code: 400,
    text: /a selector may have 65536 characters/,
  },
  {
    title: '60 000 blanks in a field selector',
    sent: request(`GET /api/v1/pods?fieldSelector=a${'+'.repeat(60_000)}b`, CLOSE),
    code: 400,
    text: /invalid field selector/,
  },
  {
    title: '160 000 media types',
    sent: request('GET /api/v1/pods', [...CLOSE, `Accept: ${'a;b=c,'.repeat(160_000)}`]),
    code: 406,
    text: /media types/,
  },
  {
    title: '500 000 subprotocols',
    sent: request(`GET ${TRUE}`, [...SPDY.slice(0, 2), `X-Stream-Protocol-Version: ${'a,'.repeat(500_000)}`]),
    code: 403,
    text: /client supports \[a /,
  },
  {
    title: 'a Host of 1 MB',
    sent: request('GET /version', CLOSE).replace('localhost', `localhost${':1'.repeat(500_000)}`),
    code: 403,
    text: /Host header/,
  },
].map(row => ({ ...row, times: 10 }));

const HEADERS: Row[] = [
  { title: 'a request line of 1 MiB', sent: request(`GET /${'a'.repeat(MIB)}`), code: 431, text: /1 MiB/, times: 10 },
  {
    title: 'a header of 1 MiB',
    sent: request('GET /version', [`A: ${'a'.repeat(MIB)}`]),
    code: 431,
    text: /1 MiB/,
    times: 20,
  },
  {
    title: '200 000 headers',
    sent: request('GET /version', Array<string>(200_000).fill('A:')),
    code: 431,
    text: /too many/,
    times: 20,
  },
  { title: 'a header without a name', sent: request('GET /version', [': x']), code: 400, text: /no HTTP request/ },
  { title: 'a folded header', sent: request('GET /version', ['A: x', ' y\0']), code: 400, text: /no HTTP request/ },
  {
    title: 'another Expect',
    sent: request(`POST ${TRUE}`, [...CLOSE, 'Expect: magic']),
    code: 417,
    text: /^0\r\n\r\n$/,
  },
  {
    title: 'Expect: 100-continue',
    sent: request(`POST ${TRUE}`, [...CLOSE, 'Expect: 100-continue', 'Content-Length: 9']),
    code: 100,
    text: /400 Bad Request.*Upgrade request required$/s,
  },
  { title: 'no Host', sent: 'GET /version HTTP/1.0\r\n\r\n', code: 403, text: /Host header/ },
  { title: 'another version of HTTP', sent: 'GET / HTTP/9.9\r\n\r\n', code: 400, text: /no HTTP request/ },
  { title: 'the preface of HTTP/2', sent: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', code: 400, text: /no HTTP request/ },
  { title: 'a TLS hello', sent: '\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03', code: 400, text: /no HTTP request/ },
];

const CHUNKED = 'Transfer-Encoding: chunked';
const BODIES: Row[] = [
  {
    title: 'a body',
    sent: request(`POST ${TRUE}`, [...SPDY, 'Content-Length: 1000000'], 'x'.repeat(MIB)),
    code: 400,
    text: /may not have a body/,
  },
  {
    title: 'a chunked body',
    sent: request(`POST ${TRUE}`, [...SPDY, CHUNKED], '5\r\nhello\r\n0\r\n\r\n'),
    code: 400,
    text: /may not have a body/,
  },
  {
    title: 'an encoded body',
    sent: request(`POST ${TRUE}`, [...SPDY, 'Transfer-Encoding: gzip'], 'hello'),
    code: 400,
    text: /may not have a body/,
  },
  {
    title: 'two lengths',
    sent: request(`POST ${TRUE}`, [...SPDY, 'Content-Length: 0', CHUNKED]),
    code: 400,
    text: /no HTTP request/,
  },
  {
    title: 'a negative length',
    sent: request(`POST ${TRUE}`, [...SPDY, 'Content-Length: -1']),
    code: 400,
    text: /no HTTP request/,
  },
  {
    title: 'a length beyond all numbers',
    sent: request(`POST ${TRUE}`, [...SPDY, `Content-Length: ${'9'.repeat(30)}`]),
    code: 400,
    text: /no HTTP request/,
  },
  {
    title: 'requests behind a refused upgrade',
    sent: request(`GET /exec/a/b/c?command=x&output=1`, SPDY, request('GET /version').repeat(1_000)),
    code: 404,
    text: /^pod does not exist$/,
  },
];

async function answerOf(connection: RawConnection, timeoutMs?: number): Promise<{ code: number; text: string }> {
  const answer = (await connection.closedByDaemon(timeoutMs)).toString();
  const end = answer.indexOf('\r\n\r\n');
  return { code: Number(answer.split(' ')[1]), text: answer.slice(end + 4) };
}

for (const [group, rows] of Object.entries({
  'another method': METHODS,
  'a bad target': TARGETS,
  'a large request': LARGE,
  'bad headers': HEADERS,
  'an upgrade with a body': BODIES,
})) {
  describe(group, () => {
    for (const { title, sent, code, text, times = TIMES } of rows) {
      test(`${title}: ${code}`, async context => {
        const run = async (): Promise<void> => {
          const connection = await RawConnection.open(served.daemon.port);
          await connection.send(sent);
          const answer = await answerOf(connection);
          assert.equal(answer.code, code, answer.text.slice(0, 500));
          assert.match(answer.text, text);
        };
        await withstands(context, { times, run });
      });
    }
  });
}

test('headers without an end, 1 GiB of them: 431', async context => {
  const run = async (): Promise<void> => {
    const connection = await RawConnection.open(served.daemon.port);
    await connection.send('GET /version HTTP/1.1\r\n');
    await connection.flood(Buffer.from(`A: ${'a'.repeat(65_531)}\r\n`), 1_024);
    assert.equal((await answerOf(connection)).code, 431);
  };
  await withstands(context, { times: 16, run });
});

test('a million pipelined requests: of what comes at once some are looked at, and the connection is closed', async context => {
  const run = async (): Promise<void> => {
    const connection = await RawConnection.open(served.daemon.port);
    connection.socket.pause();
    const requests = Buffer.from(request('GET /api/v1/pods').repeat(1_000));
    await connection.flood(requests, 1_000);
    assert.ok(connection.socket.bytesWritten < 100 * requests.length);
  };
  await withstands(context, { run });
});

// All at the same time, since each takes as long as the daemon waits; 25 of each.
interface Slow {
  readonly title: string;
  readonly first: string;
  /** Sent each second from then on. */
  readonly then?: string;
  readonly code: number;
  readonly timeoutMs?: number;
  readonly tls?: boolean;
}

const SLOW: Slow[] = [
  { title: 'nothing at all', first: '', code: 408 },
  { title: 'half a request line', first: 'GET /ver', code: 408 },
  { title: 'one header a second', first: 'GET /version HTTP/1.1\r\n', then: 'A: b\r\n', code: 408 },
  { title: 'one letter a second', first: 'GET /', then: 'a', code: 408 },
  { title: 'a second request that does not end', first: `${request('GET /version')}GET /`, code: 200 },
  { title: 'no second request', first: request('GET /version'), code: 200 },
  {
    title: 'a body that does not end',
    first: request('POST /version', ['Content-Length: 1000']),
    then: 'x',
    code: 405,
    timeoutMs: REQUEST_TIMEOUT_MS,
  },
  {
    title: 'a chunked body that does not end',
    first: request('POST /api', [CHUNKED]),
    then: '1\r\nx\r\n',
    code: 405,
    timeoutMs: REQUEST_TIMEOUT_MS,
  },
  {
    title: 'a body that does not end, to exec',
    first: request(`POST ${TRUE}`, ['Content-Length: 1000']),
    then: 'x',
    code: 400,
  },
  {
    title: 'an upgrade whose empty body does not come',
    first: request(`POST ${TRUE}`, [...SPDY, CHUNKED], '0\r\n'),
    code: 400,
  },
  { title: 'no TLS handshake', first: '', code: NaN, tls: true },
  { title: 'half a TLS handshake', first: '\x16\x03\x01\x02\0\x01', code: NaN, tls: true },
];

test(`slow clients: ${SLOW.map(({ title }) => title).join('; ')}`, async context => {
  const one = async ({ title, first, then = '', code, timeoutMs = HEADERS_TIMEOUT_MS, tls = false }: Slow) => {
    const connection = await RawConnection.open(tls ? (tlsDaemon?.port ?? 0) : served.daemon.port);
    await connection.send(Buffer.from(first, 'latin1'));
    const timer = setInterval(() => void connection.send(then), 1_000);
    const openedAt = performance.now();
    const answer = await answerOf(connection, timeoutMs).finally(() => clearInterval(timer));
    assert.equal(answer.code, code, `${title}: ${answer.text}`);
    return [title, Math.round(performance.now() - openedAt)];
  };
  const run = async (): Promise<void> => {
    const all = SLOW.flatMap(slow => Array.from({ length: 25 }, () => one(slow)));
    const took = await Promise.all(all);
    context.diagnostic(JSON.stringify(Object.fromEntries(took)));
  };
  await withstands(context, { run });
});
