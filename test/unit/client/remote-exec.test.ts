import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { PassThrough, Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { test } from 'node:test';
import { ClientError } from '../../../src/client/client-error.ts';
import type { Connection } from '../../../src/client/connection.ts';
import type { TerminalSize } from '../../../src/client/local-terminal.ts';
import { execRemotely, type LocalStreams } from '../../../src/client/remote-exec.ts';
import { ExecServer, exitStatus, onChannel, SUCCESS, type Play } from '../../support/exec-server.ts';

const COMMAND = { namespace: 'ns', pod: 'web', command: ['cat'] };

const connectionTo = (server: URL, token?: string): Connection => ({
  server,
  tls: { rejectUnauthorized: true },
  ...(token === undefined ? {} : { token }),
});

async function run(play: Play, streams: Partial<LocalStreams> = {}): Promise<Ran> {
  await using server = await ExecServer.start(play);
  return await runAgainst(server.url, streams);
}

interface Ran {
  readonly exitCode?: number;
  readonly error?: unknown;
  readonly stdout: string;
  readonly stderr: string;
}

async function runAgainst(server: URL, streams: Partial<LocalStreams> = {}): Promise<Ran> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const read = Promise.all([text(stdout), text(stderr)]);
  let outcome: { exitCode: number } | { error: unknown };
  try {
    outcome = { exitCode: await execRemotely(connectionTo(server), COMMAND, { stdout, stderr, ...streams }) };
  } catch (error) {
    outcome = { error };
  }
  stdout.end();
  stderr.end();
  const [out, err] = await read;
  return { ...outcome, stdout: out, stderr: err };
}

function assertFailed(error: unknown, message: RegExp | string, exitCode = 1): void {
  assert.ok(error instanceof ClientError, String(error));
  if (typeof message === 'string') assert.equal(error.message, message);
  else assert.match(error.message, message);
  assert.equal(error.exitCode, exitCode);
}

test('asks for the pod, the command and the streams in the form of the API server, with v5 alone', async () => {
  const asked = Promise.withResolvers<(string | undefined)[]>();
  await using server = await ExecServer.start((socket, { url, headers }) => {
    asked.resolve([url, headers['sec-websocket-protocol'], headers.authorization, headers['sec-websocket-extensions']]);
    socket.send(onChannel(3, SUCCESS));
    socket.close(1000);
  });
  const command = { namespace: 'a b', pod: 'p/q', container: 'c', command: ['sh', '-c', 'echo "a&b" +ü'] };
  const base = new URL('/proxy/', server.url);
  const sink = new PassThrough().resume();
  await execRemotely(connectionTo(base, 'secret'), command, { stdin: Readable.from([]), stdout: sink, stderr: sink });
  const [url = '', ...others] = await asked.promise;
  assert.deepEqual(others, ['v5.channel.k8s.io', 'Bearer secret', undefined]);
  const { pathname, searchParams } = new URL(url, server.url);
  assert.equal(pathname, '/proxy/api/v1/namespaces/a%20b/pods/p%2Fq/exec');
  assert.deepEqual(
    [...searchParams],
    [
      ['command', 'sh'],
      ['command', '-c'],
      ['command', 'echo "a&b" +ü'],
      ['container', 'c'],
      ['stdin', 'true'],
      ['stdout', 'true'],
      ['stderr', 'true'],
    ],
  );
});

test('keeps stdout and stderr apart and returns the exit code', async () => {
  const ran = await run(socket => {
    socket.send(onChannel(1, ''));
    socket.send(onChannel(1, 'out 1\n'));
    socket.send(onChannel(2, 'err\n'));
    socket.send(onChannel(1, 'out 2\n'));
    socket.send(onChannel(9, 'nobody'));
    socket.send(onChannel(3, exitStatus(42)));
    socket.close(1000);
  });
  assert.deepEqual(ran, { exitCode: 42, stdout: 'out 1\nout 2\n', stderr: 'err\n' });
});

test('a success is exit code 0, also when the status comes in pieces', async () => {
  const ran = await run(socket => {
    for (const byte of SUCCESS) socket.send(onChannel(3, byte));
    socket.close(1000);
  });
  assert.deepEqual(ran, { exitCode: 0, stdout: '', stderr: '' });
});

test('output that arrives in the same packet as the 101 is not lost', async () => {
  const ran = await run((socket, { socket: tcp }) => {
    tcp.cork();
    socket.send(onChannel(1, 'early'));
    socket.send(onChannel(3, SUCCESS));
    socket.close(1000);
    tcp.uncork();
  });
  assert.deepEqual(ran, { exitCode: 0, stdout: 'early', stderr: '' });
});

test('a normal close without a status is a failure, never a success', async () => {
  const ran = await run(socket => {
    socket.send(onChannel(1, 'half'));
    socket.close(1000);
  });
  assert.equal(ran.stdout, 'half');
  assertFailed(ran.error, 'the connection ended without a status: it is unknown how the command ended');
});

test('a close code or a lost connection without a status is a failure that says which', async () => {
  const restarted = await run(socket => socket.close(1012, 'restarting'));
  assertFailed(restarted.error, /without a status.*\(close code 1012 restarting\)/);
  const lost = await run(socket => socket.terminate());
  assertFailed(lost.error, /without a status.*\(close code 1006\)/);
});

test("a failure Status is the server's message", async () => {
  const status = {
    status: 'Failure',
    reason: 'InternalError',
    message: 'Internal error occurred: no such file',
    code: 500,
  };
  const ran = await run(socket => {
    socket.send(onChannel(3, JSON.stringify(status)));
    socket.close(1000);
  });
  assertFailed(ran.error, 'Internal error occurred: no such file');
});

test('a text message breaks the protocol', async () => {
  const ran = await run(socket => socket.send('1text'));
  assertFailed(ran.error, /broke the protocol/);
});

const refusal = (statusLine: string, body: string, headers = ''): string =>
  `HTTP/1.1 ${statusLine}\r\n${headers}Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`;

const REFUSALS: [title: string, answer: string, message: string | RegExp][] = [
  [
    'a Status shows its message',
    refusal('404 Not Found', '{"kind":"Status","message":"pods \\"web\\" not found","code":404}'),
    'pods "web" not found',
  ],
  ['plain text shows as it is', refusal('404 Not Found', 'pod does not exist\n'), 'pod does not exist'],
  ['an empty body shows the status line', refusal('403 Forbidden', ''), 'the server answered 403 Forbidden'],
  [
    'a 401 says what to give',
    refusal('401 Unauthorized', 'Unauthorized'),
    /^the server answered 401 Unauthorized: Unauthorized \(say who you are: --token/,
  ],
  [
    'a redirect is not followed',
    refusal('302 Found', '', 'Location: http://127.0.0.1:1/\r\n'),
    /^the server answered 302 Found, which is no answer/,
  ],
  ['a 200 is no upgrade', refusal('200 OK', '<html>hello</html>'), /^the server answered 200 OK, which is no answer/],
  [
    'a 101 without the subprotocol is refused',
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n',
    /^cannot reach http:.*Sec-WebSocket/,
  ],
];
for (const [title, answer, message] of REFUSALS) {
  test(`refused before the upgrade: ${title}`, async () => {
    await using server = await ExecServer.refusing(answer);
    const { error } = await runAgainst(server.url);
    assertFailed(error, message);
  });
}

test('nobody listening says what to do', async () => {
  const unused = createServer().listen(0, '127.0.0.1');
  await once(unused, 'listening');
  const address = unused.address();
  assert.ok(typeof address === 'object' && address !== null);
  unused.close();
  await once(unused, 'close');
  const { error } = await runAgainst(new URL(`http://127.0.0.1:${address.port}`));
  assertFailed(error, /nothing listens there: is `execlet serve` running\? \(--server says where\)/);
});

test('the end of stdin is the CLOSE signal, after all input', async () => {
  const ran = await run(
    socket => {
      const received: Buffer[] = [];
      socket.on('message', (message: Buffer) => {
        received.push(message);
        if (message[0] !== 255) return;
        socket.send(onChannel(1, received.map(piece => piece.toString('latin1')).join('|')));
        socket.send(onChannel(3, SUCCESS));
        socket.close(1000);
      });
    },
    { stdin: Readable.from([Buffer.from('abc'), Buffer.from('d')]) },
  );
  assert.equal(ran.stdout, Buffer.from('\0abc|\0d|\u00ff\0', 'latin1').toString('latin1'));
  assert.equal(ran.exitCode, 0);
});

test('a command that ends before its stdin does not wait for it', async () => {
  const stdin = new PassThrough();
  stdin.write('never ends');
  const ran = await run(
    socket => {
      socket.on('message', () => {
        socket.send(onChannel(3, exitStatus(3)));
        socket.close(1000);
      });
    },
    { stdin },
  );
  assert.equal(ran.exitCode, 3);
  assert.equal(stdin.isPaused(), true);
  assert.equal(stdin.listenerCount('data'), 0);
});

test('a stdin that cannot be read is a failure', async () => {
  const stdin = new Readable({
    read() {
      this.destroy(new Error('EISDIR: illegal operation on a directory'));
    },
  });
  const { error } = await run(() => undefined, { stdin });
  assertFailed(error, 'reading the input: EISDIR: illegal operation on a directory');
});

test('stdin beyond all buffers waits for a server that does not read, and arrives whole', async () => {
  const total = 32 * 1024 * 1024;
  const sent = createHash('sha256');
  let produced = 0;
  const stdin = new Readable({
    highWaterMark: 64 * 1024,
    read(size) {
      if (produced === total) return void this.push(null);
      const chunk = randomBytes(Math.min(size, total - produced));
      produced += chunk.length;
      sent.update(chunk);
      this.push(chunk);
    },
  });
  const received = createHash('sha256');
  let whenPaused = 0;
  const ran = await run(
    socket => {
      socket.pause();
      // Nobody reads: the source must come to rest far below the total once kernel and high-water mark are full.
      const untilAtRest = async (): Promise<void> => {
        let idleTurns = 0;
        while (idleTurns < 200) {
          const before = produced;
          await nextTurn();
          idleTurns = produced === before ? idleTurns + 1 : 0;
        }
        whenPaused = produced;
        socket.resume();
      };
      void untilAtRest();
      socket.on('message', (message: Buffer) => {
        if (message[0] === 0) received.update(message.subarray(1));
        if (message[0] !== 255) return;
        socket.send(onChannel(3, SUCCESS));
        socket.close(1000);
      });
    },
    { stdin },
  );
  assert.equal(ran.exitCode, 0);
  assert.equal(received.digest('hex'), sent.digest('hex'));
  assert.ok(whenPaused < total / 2, `${whenPaused} bytes were taken from stdin while nobody read`);
});

test('output beyond all buffers waits for a slow reader, and arrives whole before the exit code', async () => {
  const piece = Buffer.alloc(64 * 1024, 'x');
  const pieces = 512;
  let taken = 0;
  let mostHeld = 0;
  const stdout: Writable = new Writable({
    highWaterMark: 64 * 1024,
    write(chunk: Buffer, _encoding, done) {
      mostHeld = Math.max(mostHeld, stdout.writableLength);
      setImmediate(() => {
        taken += chunk.length;
        done();
      });
    },
  });
  const ran = await run(
    socket => {
      for (let i = 0; i < pieces; i++) socket.send(onChannel(1, piece));
      socket.send(onChannel(3, exitStatus(7)));
      socket.close(1000);
    },
    { stdout },
  );
  assert.equal(ran.exitCode, 7);
  assert.equal(taken, pieces * piece.length);
  assert.ok(mostHeld <= 1024 * 1024, `${mostHeld} bytes were held for a slow reader`);
});

test('one full output does not lose the other', async () => {
  const slow = (): { stream: Writable; text: () => string } => {
    let all = '';
    const stream = new Writable({
      highWaterMark: 1,
      write(chunk: Buffer, _encoding, done) {
        all += chunk.toString();
        setImmediate(done);
      },
    });
    return { stream, text: () => all };
  };
  const [out, err] = [slow(), slow()];
  const ran = await run(
    socket => {
      for (let i = 0; i < 100; i++) socket.send(onChannel(1 + (i % 2), `${i} `));
      socket.send(onChannel(3, SUCCESS));
      socket.close(1000);
    },
    { stdout: out.stream, stderr: err.stream },
  );
  assert.equal(ran.exitCode, 0);
  const numbers = Array.from({ length: 100 }, (_, i) => i);
  assert.equal(
    out.text(),
    numbers
      .filter(i => i % 2 === 0)
      .map(i => `${i} `)
      .join(''),
  );
  assert.equal(
    err.text(),
    numbers
      .filter(i => i % 2 === 1)
      .map(i => `${i} `)
      .join(''),
  );
});

test('a closed output ends the exec quietly, as SIGPIPE would', async () => {
  const gone = Promise.withResolvers<undefined>();
  const stdout = new Writable({
    write(_chunk, _encoding, done) {
      done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
    },
  });
  const { error } = await run(
    socket => {
      socket.on('close', () => gone.resolve(undefined));
      socket.send(onChannel(1, 'x'));
    },
    { stdout },
  );
  await gone.promise;
  assertFailed(error, '', 141);
});

test('with a terminal: its size at once and at each change, no stderr, no CLOSE at the end of stdin', async () => {
  let resize: (size: TerminalSize) => void = () => undefined;
  const calls: string[] = [];
  const terminal = {
    start(onSize: (size: TerminalSize) => void) {
      calls.push('start');
      resize = onSize;
      onSize({ width: 80, height: 24 });
    },
    stop() {
      calls.push('stop');
    },
  };
  const received: string[] = [];
  let query = '';
  const ran = await run(
    (socket, { url }) => {
      query = url ?? '';
      socket.on('message', (message: Buffer) => {
        received.push(message.toString());
        if (received.length === 1) resize({ width: 100, height: 30 });
        if (received.length < 3) return;
        socket.send(onChannel(3, SUCCESS));
        socket.close(1000);
      });
    },
    { stdin: Readable.from([Buffer.from('\u0004')]), terminal },
  );
  assert.equal(ran.exitCode, 0);
  assert.deepEqual(calls, ['start', 'stop']);
  assert.match(query, /[?&]tty=true/);
  assert.doesNotMatch(query, /stderr/);
  assert.deepEqual(received.toSorted(), [
    '\0\u0004',
    '\u0004{"Width":100,"Height":30}\n',
    '\u0004{"Width":80,"Height":24}\n',
  ]);
});
