import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test, type TestContext } from 'node:test';
import { askApi } from '../support/api.ts';
import { Daemon } from '../support/daemon.ts';
import { askForUpgrade, type UpgradeAnswer } from '../support/upgrade-request.ts';
import { TRANSPORTS, type Transport } from '../support/raw-exec.ts';
import { dialSpdy } from '../support/spdy-client.ts';
import { withoutSessionName } from '../support/session-name.ts';
import { StandInEngine, stdcopyFrame } from '../support/stand-in-engine.ts';
import { WebSocketClient } from '../support/websocket-client.ts';

const PATH = '/exec/default/web/app?command=x&input=1&output=1&error=1';
const TTY_PATH = '/exec/default/web/app?command=x&input=1&output=1&tty=1';
const HEADERS: Readonly<Record<Transport, Readonly<Record<string, string>>>> = {
  spdy: { Connection: 'Upgrade', Upgrade: 'SPDY/3.1', 'X-Stream-Protocol-Version': 'v4.channel.k8s.io' },
  websocket: {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==',
    'Sec-WebSocket-Protocol': 'v5.channel.k8s.io',
  },
};

interface Played {
  readonly engine: StandInEngine;
  readonly daemon: Daemon;
  /** How many execs the Engine was asked to create. */
  readonly creates: () => number;
  /** A session that goes on; it prints `up` first. */
  readonly open: (path?: string) => Promise<WebSocketClient>;
  readonly ask: (transport: Transport) => Promise<UpgradeAnswer>;
}

/** A daemon before an Engine whose commands print `up` and then what they are sent, until they are sent `exit`. */
async function serve(context: TestContext, ...args: string[]): Promise<Played> {
  const engine = await StandInEngine.start({
    play: (connection, exec) => {
      const { Tty: tty } = exec.created;
      const out = (text: string): void => void connection.write(tty ? text : stdcopyFrame(1, text));
      out('up');
      connection.on('data', (input: Buffer) => {
        if (input.toString() !== 'exit') out(input.toString());
        else {
          connection.end();
          exec.sendExit(7);
        }
      });
    },
  });
  const daemon = await Daemon.start({ engine, args });
  context.after(async () => {
    await daemon.stop(null);
    await engine.stop();
  });
  return {
    engine,
    daemon,
    creates: () => engine.calls.filter(({ path }) => path.endsWith('/exec')).length,
    open: async (path = PATH) => {
      const client = await WebSocketClient.open({
        url: `ws://127.0.0.1:${daemon.port}${path}`,
        protocols: ['v5.channel.k8s.io'],
      });
      await client.until(() => client.received(1).includes('up'));
      return client;
    },
    ask: transport =>
      askForUpgrade(
        { port: daemon.port },
        { method: transport === 'spdy' ? 'POST' : 'GET', target: PATH, headers: HEADERS[transport] },
      ),
  };
}

interface Status {
  readonly reason?: string;
  readonly code?: number;
  readonly message: string;
  readonly details: { readonly causes: readonly { readonly reason?: string; readonly message: string }[] };
}

async function statusOf(client: WebSocketClient): Promise<Status> {
  assert.equal(await client.closed, 1000);
  return JSON.parse(client.received(3).toString()) as Status;
}

const reasonIn = ({ details }: Status): string | undefined =>
  details.causes.find(({ reason }) => reason === 'ExecletReason')?.message;

for (const [flag, message] of [
  ['--max-sessions', 'too many sessions: 2 run on this node, and --max-sessions allows no more'],
  [
    '--max-sessions-per-container',
    'too many sessions: 2 run in this container, and --max-sessions-per-container allows no more',
  ],
  [
    '--max-sessions-per-caller',
    'too many sessions: "system:anonymous" has 2, and --max-sessions-per-caller allows no more',
  ],
] as const) {
  test(`${flag}: what is beyond it is refused, and the Engine hears nothing of it`, async context => {
    const { daemon, creates, open, ask } = await serve(context, flag, '2');
    const first = await open();
    await open();
    for (const transport of TRANSPORTS) {
      const answer = await ask(transport);
      assert.deepEqual([answer.status, answer.body], [429, message]);
      assert.deepEqual(answer.values('Retry-After'), ['1']);
    }
    assert.equal(creates(), 2);
    const { body: metrics } = await askApi(daemon, '/metrics');
    assert.match(String(metrics), /^execlet_rejected_total\{stage="limit",code="429"\} 2$/m);
    await first.send(0, Buffer.from('exit'));
    await first.closed;
    await daemon.waitForSessionsEnded(1);
    await open();
  });
}

test('--max-session-rate-per-container: says when to ask again', async context => {
  const { creates, open, ask } = await serve(context, '--max-session-rate-per-container', '0.02');
  await open();
  for (const transport of TRANSPORTS) {
    const answer = await ask(transport);
    assert.equal(answer.status, 429);
    assert.match(answer.body, /0\.02 a second may begin in this container \(--max-session-rate-per-container\)$/);
    const [seconds] = answer.values('Retry-After').map(Number);
    assert.ok(seconds !== undefined && seconds > 10 && seconds <= 50, String(seconds));
  }
  assert.equal(creates(), 1);
});

test('--max-connections: beyond it only health checks are answered, and sessions go on', async context => {
  const { daemon, open, ask } = await serve(context, '--max-connections', '3');
  const client = await open();
  const idle = [1, 2].map(() => connect(daemon.port, '127.0.0.1'));
  for (const socket of idle) await once(socket, 'connect');
  const message = 'too many connections: 3 are open, and --max-connections allows no more';
  for (const transport of TRANSPORTS) {
    const answer = await ask(transport);
    assert.deepEqual([answer.status, answer.body, answer.values('Retry-After')], [429, message, ['1']]);
  }
  assert.partialDeepStrictEqual(await askApi(daemon, '/version'), { status: 429, body: message });
  assert.partialDeepStrictEqual(await askApi(daemon, '/livez'), { status: 200, body: 'ok' });
  await client.send(0, Buffer.from('still here'));
  await client.until(() => client.received(1).includes('still here'));
  for (const socket of idle) socket.destroy();
  await Promise.all(idle.map(socket => once(socket, 'close')));
  let answered = await askApi(daemon, '/version');
  while (answered.status === 429) answered = await askApi(daemon, '/version');
  assert.equal(answered.status, 200);
});

test('an idle session is warned at its terminal and then ended, with a Status that says so', async context => {
  const { open } = await serve(context, '--streaming-connection-idle-timeout', '2s');
  const pings = new AbortController();
  const client = await open(TTY_PATH);
  void (async () => {
    while (!pings.signal.aborted && (await client.ping('alive'))) await new Promise(setImmediate);
  })();
  const status = await statusOf(client);
  pings.abort();
  assert.match(
    client.received(1).toString(),
    /^up\r\n\[execlet\] nobody has used this session for long: it ends in [01]s\r\n$/,
  );
  assert.deepEqual([status.reason, status.code, reasonIn(status)], ['Timeout', 504, 'idle']);
  assert.equal(withoutSessionName(status.message), 'the session was not used for 2s');
});

test('whoever types is not idle', async context => {
  const { daemon, open } = await serve(context, '--streaming-connection-idle-timeout', '1s');
  const client = await open(TTY_PATH);
  const startedAt = performance.now();
  for (let typed = 0; performance.now() - startedAt < 3_000; typed += 1) {
    await client.send(0, Buffer.from('x'));
    await client.until(() => client.receivedBytes(1) > typed);
    await new Promise(resolve => setTimeout(resolve, 50));
  }
  assert.deepEqual(daemon.sessionsEnded(), []);
});

test('a session that lasts too long is warned at its terminal and then ended, however much it is used', async context => {
  const { open } = await serve(context, '--max-session-duration', '2s');
  const client = await open(TTY_PATH);
  const typing = setInterval(() => void client.send(0, Buffer.from('x')), 20);
  const status = await statusOf(client);
  clearInterval(typing);
  assert.match(client.received(1).toString(), /\r\n\[execlet\] no session may last longer: this one ends in [01]s\r\n/);
  assert.deepEqual([status.reason, status.code, reasonIn(status)], ['Timeout', 504, 'max_duration']);
  assert.equal(withoutSessionName(status.message), 'the session has lasted 2s, the most it may');
});

test('without a terminal nothing is said between the output', async context => {
  const { open } = await serve(context, '--streaming-connection-idle-timeout', '500ms');
  const client = await open();
  assert.equal(reasonIn(await statusOf(client)), 'idle');
  assert.equal(client.received(1).toString(), 'up');
});

test('sessions are listed, shown and ended over the API, and the client is told who ended it', async context => {
  const { daemon, open } = await serve(context);
  const client = await open(TTY_PATH);
  const { body } = await askApi(daemon, '/execlet/v1/sessions');
  const { sessions } = body as { sessions: { id: string }[] };
  assert.equal(sessions.length, 1);
  const [session] = sessions;
  assert.ok(session !== undefined);
  assert.partialDeepStrictEqual(session, {
    state: 'started',
    user: 'system:anonymous',
    remoteAddress: '127.0.0.1',
    namespace: 'default',
    pod: 'web',
    container: 'app',
    program: 'x',
    tty: true,
    transport: 'websocket',
    protocol: 'v5.channel.k8s.io',
    stdinBytes: 0,
    stdoutBytes: 2,
  });
  const path = `/execlet/v1/sessions/${session.id}`;
  assert.partialDeepStrictEqual(await askApi(daemon, path), { status: 200, body: { id: session.id } });
  assert.partialDeepStrictEqual(await askApi(daemon, path, 'DELETE'), { status: 200, body: { id: session.id } });
  const status = await statusOf(client);
  assert.equal(reasonIn(status), 'admin');
  assert.equal(
    status.message,
    `Internal error occurred: the session was ended by system:anonymous (session ${session.id})`,
  );
  const [ended] = await daemon.waitForSessionsEnded(1);
  assert.partialDeepStrictEqual(ended, { session: session.id, reason: 'admin' });
  let shown = await askApi(daemon, path);
  while ((shown.body as { state: string }).state === 'draining') shown = await askApi(daemon, path);
  assert.partialDeepStrictEqual(shown, { status: 200, body: { state: 'ended', reason: 'admin', stdoutBytes: 2 } });
  assert.partialDeepStrictEqual(await askApi(daemon, path, 'DELETE'), { status: 409 });
  assert.partialDeepStrictEqual(await askApi(daemon, '/execlet/v1/sessions/nothing', 'DELETE'), { status: 404 });
});

test('a session is ended also while its client still opens its streams', async context => {
  const { daemon, creates } = await serve(context);
  const { client } = await dialSpdy({ port: daemon.port, path: PATH, protocols: ['v4.channel.k8s.io'] });
  assert.ok(client !== undefined);
  const error = await client.open({ streamtype: 'error' });
  const { body } = await askApi(daemon, '/execlet/v1/sessions');
  const [session] = (body as { sessions: { id: string; state: string }[] }).sessions;
  assert.equal(session?.state, 'admitted');
  const path = `/execlet/v1/sessions/${session.id}`;
  assert.partialDeepStrictEqual(await askApi(daemon, path, 'DELETE'), { status: 200 });
  assert.partialDeepStrictEqual(await askApi(daemon, path), { body: { state: 'ended', reason: 'admin' } });
  const status = JSON.parse((await error.ended()).toString()) as Status;
  assert.equal(reasonIn(status), 'admin');
  assert.match(status.message, /the session was ended by system:anonymous \(session /);
  assert.equal(creates(), 0);
});
