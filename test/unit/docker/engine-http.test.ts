import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { createServer as createTlsServer, TLSSocket } from 'node:tls';
import { Engine } from '../../../src/docker/engine.ts';
import { EngineHttp, EngineRefusal } from '../../../src/docker/engine-http.ts';
import { ExecletError } from '../../../src/errors.ts';
import { makeServerCertificate } from '../../support/certificates.ts';

/** What the server does with the next request of a connection; `nth` counts the connection's own, from 1. */
type Serve = (connection: Socket, request: { readonly text: string; readonly nth: number }) => void;

/** An HTTP server that says any bytes at all. Requests are cut apart by the end of what was read, as they are sent one by one. */
class RawServer {
  readonly requests: string[] = [];
  readonly connections: Socket[] = [];
  readonly address: { readonly socketPath: string };
  readonly #server: Server;

  private constructor(socketPath: string, serve: Serve) {
    this.address = { socketPath };
    this.#server = createServer({ allowHalfOpen: true }, connection => {
      this.connections.push(connection);
      let nth = 0;
      connection.on('error', () => undefined);
      connection.on('end', () => connection.end());
      connection.on('data', bytes => {
        const text = bytes.toString('latin1');
        this.requests.push(text);
        serve(connection, { text, nth: (nth += 1) });
      });
    });
  }

  static async start(context: TestContext, serve: Serve): Promise<RawServer> {
    const directory = await mkdtemp(join(tmpdir(), 'execlet-engine-http-'));
    const server = new RawServer(join(directory, 'docker.sock'), serve);
    server.#server.listen(server.address.socketPath);
    await once(server.#server, 'listening');
    context.after(async () => {
      for (const connection of server.connections) connection.destroy();
      server.#server.close();
      await rm(directory, { recursive: true, force: true });
    });
    return server;
  }

  client(timeoutMs = 5_000): EngineHttp {
    return new EngineHttp({ address: this.address, tls: {}, timeoutMs });
  }

  engine(timeoutMs = 5_000): Engine {
    const { socketPath } = this.address;
    return new Engine({ endpoint: { text: `unix://${socketPath}`, socketPath }, timeoutMs });
  }
}

function answer(status: number, body: string, headers = ''): string {
  return `HTTP/1.1 ${status} Text\r\n${headers}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

const UPGRADED = 'HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n';
const EXEC = { containerId: 'c1', command: ['true'], tty: false, stdin: false, env: [] };
const START = { tty: false, size: undefined };
const never = new AbortController().signal;

/** Rejects with that, whatever else is true of it. */
async function failureOf(promise: Promise<unknown>): Promise<Error> {
  const outcome = await promise.then(
    value => new Error(`resolved with ${String(value)}`),
    (cause: unknown) => cause,
  );
  assert.ok(outcome instanceof Error);
  return outcome;
}

test("status codes are translated, with the Engine's own message", async context => {
  const codes = {
    400: 'BadExecRequest',
    404: 'HandlerNotFound',
    409: 'ContainerNotRunning',
    418: 'Internal',
    500: 'Internal',
  };
  for (const [status, code] of Object.entries(codes)) {
    const engine = (await refusing(context, Number(status))).engine();
    for (const call of [engine.createExec(EXEC), engine.inspectExec('e1', never)]) {
      const failure = await failureOf(call);
      assert.ok(failure instanceof ExecletError);
      assert.deepEqual([failure.code, failure.message], [code, 'that will not do']);
    }
  }
});

function refusing(context: TestContext, status: number): Promise<RawServer> {
  return RawServer.start(context, connection =>
    connection.write(answer(status, JSON.stringify({ message: 'that will not do' }))),
  );
}

test('a start that is refused says why, and leaves no connection', async context => {
  const server = await RawServer.start(context, (connection, { nth }) =>
    connection.write(nth === 1 ? answer(201, '{"Id":"e1"}') : answer(409, '{"message":"Container c1 is paused"}')),
  );
  const exec = await server.engine().createExec(EXEC);
  const failure = await failureOf(exec.start(START));
  assert.ok(failure instanceof ExecletError);
  assert.deepEqual([failure.code, failure.message], ['ContainerNotRunning', 'Container c1 is paused']);
  await closed(server.connections[0]);
});

test('a refusal that is no JSON is quoted, and not at length', async context => {
  const server = await RawServer.start(context, connection => connection.write(answer(502, 'x'.repeat(10_000))));
  const failure = await failureOf(server.client().ask({ method: 'GET', path: '/' }));
  assert.ok(failure instanceof EngineRefusal);
  assert.equal(failure.message, `HTTP 502 ${'x'.repeat(500)}`);
});

test('create and start share one connection, and each exec has a new one', async context => {
  const server = await RawServer.start(context, (connection, { nth }) =>
    connection.write(nth === 1 ? answer(201, '{"Id":"e1"}') : `${UPGRADED}and more`),
  );
  const engine = server.engine();
  for (const count of [1, 2]) {
    const exec = await engine.createExec({ ...EXEC, env: ['A=b'] });
    const stream = await exec.start(START);
    const [bytes] = (await once(stream, 'data')) as [Buffer];
    assert.equal(bytes.toString(), 'and more');
    assert.equal(server.connections.length, count);
    stream.destroy();
    await closed(server.connections.at(-1));
  }
  const [create = '', start = ''] = server.requests;
  assert.match(create, /^POST \/containers\/c1\/exec HTTP\/1\.1\r\n/);
  const { Cmd, Env } = JSON.parse(create.slice(create.indexOf('\r\n\r\n'))) as Record<string, unknown>;
  assert.deepEqual({ Cmd, Env }, { Cmd: ['true'], Env: ['A=b'] });
  assert.match(start, /^POST \/exec\/e1\/start HTTP\/1\.1\r\n/);
  assert.match(start, /\r\nConnection: Upgrade\r\n/);
  assert.match(start, /\r\nUpgrade: tcp\r\n/);
});

test('where the connection ends with the answer to create, start makes another', async context => {
  for (const close of [true, false]) {
    const server = await RawServer.start(context, (connection, { text }) => {
      if (text.includes('/start')) connection.write(UPGRADED);
      else connection.end(answer(201, '{"Id":"e1"}', close ? 'Connection: close\r\n' : ''));
    });
    const exec = await server.engine().createExec(EXEC);
    if (!close) await closed(server.connections[0]); // it is heard to be closed before it would be used
    (await exec.start(START)).destroy();
    assert.equal(server.connections.length, 2);
  }
});

test('a start whose connection has gone stale is made once more', async context => {
  const server = await RawServer.start(context, (connection, { text, nth }) => {
    if (text.includes('/start') && nth > 1) connection.destroy();
    else connection.write(text.includes('/start') ? UPGRADED : answer(201, '{"Id":"e1"}'));
  });
  const exec = await server.engine().createExec(EXEC);
  (await exec.start(START)).destroy();
  assert.equal(server.requests.filter(text => text.includes('/start')).length, 2);
});

test('a start that was heard, and is refused only when it is repeated, failed by the connection', async context => {
  const server = await RawServer.start(context, (connection, { text, nth }) => {
    if (!text.includes('/start')) connection.write(answer(201, '{"Id":"e1"}'));
    else if (nth > 1) connection.destroy();
    else connection.write(answer(409, '{"message":"exec e1 has already run"}'));
  });
  const exec = await server.engine().createExec(EXEC);
  const failure = await failureOf(exec.start(START));
  assert.ok(failure instanceof ExecletError);
  assert.equal(failure.code, 'RuntimeUnavailable');
  assert.match(failure.message, /does not answer: socket hang up$/);
});

test('a create is never made twice', async context => {
  const server = await RawServer.start(context, (connection, { text }) => {
    if (text.startsWith('GET')) connection.write(answer(200, '{"Running":true,"ExitCode":null,"Pid":7}'));
    else connection.destroy();
  });
  const engine = server.engine();
  await engine.inspectExec('e1', never); // leaves a connection that is kept
  const failure = await failureOf(engine.createExec(EXEC));
  assert.ok(failure instanceof ExecletError);
  assert.equal(failure.code, 'RuntimeUnavailable');
  assert.equal(server.requests.filter(text => text.startsWith('POST')).length, 1);
  assert.equal(server.connections.length, 2); // and not on that one
});

test('an inspection on a kept connection that the Engine closes meanwhile is made again', async context => {
  const server = await RawServer.start(context, (connection, { nth }) => {
    if (nth > 1) connection.destroy();
    else connection.write(answer(200, '{"Running":true,"ExitCode":null,"Pid":7}'));
  });
  const engine = server.engine();
  for (let count = 1; count <= 3; count += 1) {
    assert.deepEqual(await engine.inspectExec('e1', never), { running: true, exitCode: null, pid: 7 });
  }
});

test('an answer that is cut off is a failure at once', async context => {
  const cut = {
    headers: 'HTTP/1.1 201 Created\r\nContent-Le',
    body: 'HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{"Id":"e1"}',
    chunks: 'HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n{"Id":"e1"}\r\n',
  };
  for (const text of Object.values(cut)) {
    const server = await RawServer.start(context, connection => connection.end(text));
    const failure = await failureOf(server.engine(60_000).createExec(EXEC));
    assert.ok(failure instanceof ExecletError);
    assert.equal(failure.code, 'RuntimeUnavailable');
    assert.match(failure.message, /does not answer: (the answer was cut off|socket hang up|Parse Error.*)$/);
  }
});

test('an answer that is too long is not held, whether or not it says how long it is', async context => {
  const piece = Buffer.alloc(1024 * 1024, ' ');
  for (const head of [
    'HTTP/1.1 200 OK\r\nContent-Length: 16777217\r\n\r\n',
    'HTTP/1.1 500 Oh\r\nContent-Length: 99999999999999999999999\r\n\r\n',
    'HTTP/1.1 200 OK\r\n\r\n',
  ]) {
    let sent = 0;
    const server = await RawServer.start(context, connection => {
      connection.write(head);
      const more = (): void => {
        if (connection.destroyed || sent >= 64 * piece.length) return;
        sent += piece.length;
        connection.write(piece, more);
      };
      more();
    });
    const failure = await failureOf(server.client().ask({ method: 'GET', path: '/' }));
    assert.match(failure.message, /^(the answer is longer than 16777216 bytes|Parse Error.*)$/);
    await closed(server.connections[0]);
    assert.ok(sent < 20 * piece.length, `${sent} bytes were taken`);
  }
});

test('an answer has to be whole within the time', async context => {
  for (const said of ['', 'HTTP/1.1 500 Oh\r\nContent-Length: 100\r\n\r\n{']) {
    const server = await RawServer.start(context, connection => connection.write(said));
    const client = server.client(200);
    for (const call of [client.ask({ method: 'GET', path: '/' }), client.upgrade({ method: 'POST', path: '/' })]) {
      assert.equal((await failureOf(call)).message, 'no whole answer within 200 ms');
    }
    for (const connection of server.connections) await closed(connection);
  }
});

test('a call that is aborted rejects with the reason of its signal, and its connection is closed', async context => {
  for (const said of ['', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{']) {
    const heard = Promise.withResolvers<undefined>();
    const server = await RawServer.start(context, connection => {
      connection.write(said);
      heard.resolve(undefined);
    });
    const stop = new AbortController();
    const call = server.client().ask({ method: 'GET', path: '/', signal: stop.signal });
    await heard.promise;
    const reason = new Error('enough');
    stop.abort(reason);
    assert.equal(await failureOf(call), reason);
    await closed(server.connections[0]);
    assert.equal(await failureOf(server.client().ask({ method: 'GET', path: '/', signal: stop.signal })), reason);
    assert.equal(server.requests.length, 1); // the last was not even sent
  }
});

test('a start that is answered with a success and no upgrade names the proxy', async context => {
  const server = await RawServer.start(context, (connection, { nth }) =>
    connection.write(nth === 1 ? answer(201, '{"Id":"e1"}') : 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'),
  );
  const exec = await server.engine().createExec(EXEC);
  const failure = await failureOf(exec.start(START));
  assert.ok(failure instanceof ExecletError);
  assert.equal(failure.code, 'RuntimeUnavailable');
  assert.match(failure.message, /^a proxy in front of the Engine blocks the connection upgrade/);
  await closed(server.connections[0]);
});

test('an answer that does not say what was asked is no answer', async context => {
  for (const body of ['', '[]', '"e1"', '{"Id":7}', '{"Running":"yes","ExitCode":0,"Pid":1}', '<html>']) {
    const server = await RawServer.start(context, connection => connection.write(answer(200, body)));
    for (const call of [server.engine().createExec(EXEC), server.engine().inspectExec('e1', never)]) {
      const failure = await failureOf(call);
      assert.ok(failure instanceof ExecletError, body);
      assert.equal(failure.code, 'RuntimeUnavailable');
    }
  }
});

test('TLS is spoken where the address says so, with a certificate that is trusted and no other', async context => {
  const { cert, key } = await makeServerCertificate();
  const server = createTlsServer({ cert, key, requestCert: true, rejectUnauthorized: false }, connection => {
    connection.on('error', () => undefined);
    connection.once('data', () => {
      connection.write(answer(201, JSON.stringify({ shown: connection.getPeerX509Certificate() !== undefined })));
      connection.once('data', () => connection.write(UPGRADED));
    });
  });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const address = { protocol: 'https', host: '127.0.0.1', port } as const;

  const http = new EngineHttp({ address, tls: { ca: [cert], cert, key }, timeoutMs: 5_000 });
  const connection = http.connection();
  const asked = { method: 'POST', path: '/', body: {}, agent: connection } as const;
  assert.deepEqual(await http.ask(asked), { shown: true });
  const stream = await http.upgrade(asked);
  assert.ok(stream instanceof TLSSocket);
  stream.destroy();
  const distrustful = new EngineHttp({ address, tls: {}, timeoutMs: 5_000 });
  assert.match((await failureOf(distrustful.ask({ method: 'GET', path: '/' }))).message, /certificate/);
});

test('an exec that is left to the Engine leaves no connection behind', async context => {
  const server = await RawServer.start(context, connection => connection.write(answer(201, '{"Id":"e1"}')));
  const exec = await server.engine().createExec(EXEC);
  exec.leave();
  await closed(server.connections[0]);
});

/** Resolves when the client's end of the connection has closed. */
async function closed(connection: Socket | undefined): Promise<void> {
  assert.ok(connection !== undefined);
  if (!connection.destroyed) await new Promise(resolve => connection.on('close', resolve)); // perhaps by a reset
}
