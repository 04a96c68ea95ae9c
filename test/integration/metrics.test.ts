import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { composeLabels } from '../support/containers.ts';
import { Daemon } from '../support/daemon.ts';
import { checkLabels, EXECLET_METRICS, NODE_METRICS } from '../support/metric-list.ts';
import { execPath, rawExec } from '../support/raw-exec.ts';
import { parseScrape, valueIn, type ScrapedMetric } from '../support/scrape.ts';
import { serveWeb } from '../support/served.ts';
import { execOverSpdy } from '../support/spdy-client.ts';
import { StandInEngine, stdcopyFrame, type StandInOptions } from '../support/stand-in-engine.ts';
import { execOverWebSocket, WebSocketClient } from '../support/websocket-client.ts';

const OPENMETRICS = 'application/openmetrics-text; version=1.0.0; charset=utf-8';
const SEEN_MS = 20_000;
const INPUT = Buffer.alloc(100_000, 'x');

const sessionList = z.object({ sessions: z.array(z.looseObject({ id: z.string() })) });

type Metrics = ReadonlyMap<string, ScrapedMetric>;

const served = serveWeb({
  args: [
    ...['--naming-schemes', 'kubernetes,compose,plain', '--metrics-bind-address', '127.0.0.1:0'],
    ...['--kill-grace-period', '500ms'],
  ],
  beforeDaemon: async engine => {
    await engine.createContainer({ labels: composeLabels({ project: 'p', service: 's', number: 1 }) });
    await engine.createContainer();
    await engine.createContainer();
  },
});

async function scrapeOf(daemon: Daemon): Promise<Metrics> {
  const response = await fetch(`${daemon.url}/metrics`);
  assert.equal(response.headers.get('Content-Type'), 'text/plain; version=0.0.4; charset=utf-8');
  return parseScrape(await response.text());
}

/** Scrapes until it holds: what a client sees of its session's end comes before the end of the session. */
async function untilScraped(daemon: Daemon, holds: (metrics: Metrics) => boolean): Promise<Metrics> {
  const deadline = Date.now() + SEEN_MS;
  for (;;) {
    const metrics = await scrapeOf(daemon);
    if (holds(metrics)) return metrics;
    assert.ok(Date.now() < deadline, 'it is not seen in a scrape');
    await delay(50); // a scrape is all there is to look at
  }
}

const ended = (metrics: Metrics): number =>
  (metrics.get('execlet_sessions_total')?.samples ?? []).reduce((sum, { value }) => sum + value, 0);

/** How much the samples of one label have risen, by its values. */
function rises(before: Metrics, now: Metrics, name: string, label: string): Record<string, number> {
  const risen: Record<string, number> = {};
  for (const { name: sample, labels } of now.get(name.replace(/_count$/, ''))?.samples ?? []) {
    const rise = sample === name ? valueIn(now, name, labels) - valueIn(before, name, labels) : 0;
    if (rise > 0) risen[labels[label] ?? ''] = rise;
  }
  return risen;
}

test('the separate address serves the same, in OpenMetrics for whoever asks', async () => {
  const { port } = await served.daemon.waitForLog(({ message }) => message === 'serving metrics');
  for (const url of [served.daemon.url, `http://127.0.0.1:${String(port)}`]) {
    const plain = await fetch(`${url}/metrics`);
    const open = await fetch(`${url}/metrics`, { headers: { Accept: 'application/openmetrics-text' } });
    assert.equal(open.headers.get('Content-Type'), OPENMETRICS);
    const names = [...(await plain.text()).matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name = '', type]) =>
      type === 'counter' ? name.replace(/_total$/, '') : name,
    );
    const text = await open.text();
    assert.deepEqual(
      [...text.matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name),
      names,
    );
    assert.match(text, /\n# EOF\n$/);
    const head = await fetch(`${url}/metrics`, { method: 'HEAD' });
    assert.deepEqual([head.status, await head.text()], [200, '']);
  }
  assert.equal((await fetch(`http://127.0.0.1:${String(port)}/pods`)).status, 404);
});

test('containers are counted by the scheme that names them', async () => {
  const metrics = await scrapeOf(served.daemon);
  const handlers = metrics.get('execlet_handlers')?.samples.map(({ labels, value }) => [labels.scheme, value]);
  assert.deepEqual(handlers, [
    ['kubernetes', 1],
    ['compose', 1],
    ['plain', 2],
  ]);
  assert.equal(valueIn(metrics, 'execlet_engine_up'), 1);
});

test('sessions are counted by how they ended, with their set-up, their bytes and the calls of the Engine', async () => {
  const { daemon } = served;
  const before = await scrapeOf(daemon);
  const { port } = daemon;
  const exits = ['exit 0', 'exit 3', 'exit 126', 'exit 127', 'kill -9 $$'];
  for (const script of exits) await rawExec('spdy', { port, command: ['sh', '-c', `echo hi; ${script}`] });
  await rawExec('websocket', { port, command: ['wc', '-c'], stdin: INPUT });
  await rawExec('websocket', { port, command: ['/no/such/command'], protocol: 'channel.k8s.io' });
  const url = `ws://127.0.0.1:${port}${execPath({ command: ['true'], tty: true, input: false })}`;
  await execOverWebSocket({ url, protocols: [], sizes: [{ Width: 80, Height: 24 }] });
  const sessions = exits.length + 3;
  const metrics = await untilScraped(daemon, now => ended(now) - ended(before) === sessions);

  const totals = metrics.get('execlet_sessions_total')?.samples.map(({ labels, value }) => ({ ...labels, value }));
  assert.deepEqual(totals, [
    { transport: 'spdy', protocol: 'v4.channel.k8s.io', reason: 'exit', value: exits.length },
    { transport: 'websocket', protocol: 'v5.channel.k8s.io', reason: 'exit', value: 1 },
    { transport: 'websocket', protocol: 'channel.k8s.io', reason: 'start_failed', value: 1 },
    { transport: 'websocket', protocol: 'none', reason: 'exit', value: 1 },
  ]);
  assert.deepEqual(rises(before, metrics, 'execlet_exec_exit_codes_total', 'class'), {
    '0': 3,
    '1_125': 1,
    '126': 1,
    '127': 1,
    '128_up': 1,
  });
  const sources = rises(before, metrics, 'execlet_exec_exit_source_total', 'source');
  assert.equal((sources.event ?? 0) + (sources.inspect ?? 0), sessions - 1);
  assert.ok((sources.event ?? 0) > 0);
  assert.deepEqual(rises(before, metrics, 'execlet_session_setup_seconds_count', 'phase'), {
    authenticate: sessions,
    authorize: sessions,
    accept: sessions,
    create: sessions,
    start: sessions,
    first_byte: exits.length + 1,
  });
  for (const phase of ['authenticate', 'authorize', 'accept', 'create', 'start', 'first_byte']) {
    const seconds = valueIn(metrics, 'execlet_session_setup_seconds_sum', { phase });
    assert.ok(seconds > 0 && seconds < 60, `${phase}: ${seconds}`);
  }
  assert.equal(
    valueIn(metrics, 'execlet_session_duration_seconds_count') -
      valueIn(before, 'execlet_session_duration_seconds_count'),
    sessions,
  );
  assert.deepEqual(rises(before, metrics, 'execlet_relayed_bytes_total', 'direction'), {
    input: INPUT.length,
    output: exits.length * 'hi\n'.length + `${INPUT.length}\n`.length,
  });
  const calls = rises(before, metrics, 'execlet_engine_request_seconds_count', 'operation');
  assert.deepEqual([calls.create, calls.start, calls.resize], [sessions, sessions, 1]);
  assert.ok((calls.inspect ?? 0) >= 1, 'of the command that was not started');
  for (const operation of ['list', 'version', 'events']) {
    assert.ok(valueIn(metrics, 'execlet_engine_request_seconds_count', { operation }) >= 1, operation);
  }
});

test('the Engine is pinged while it is quiet', async () => {
  const pings = (metrics: Metrics): number =>
    valueIn(metrics, 'execlet_engine_request_seconds_count', { operation: 'ping' });
  await untilScraped(served.daemon, metrics => pings(metrics) > 0);
});

test('a live session is seen, and what it holds back: output for its client, input for its command', async () => {
  const { daemon } = served;
  const live = (metrics: Metrics): number =>
    valueIn(metrics, 'execlet_sessions_active', { transport: 'websocket', tty: 'false' });
  const held = (metrics: Metrics, direction: string): number =>
    valueIn(metrics, 'execlet_backpressure_seconds_total', { direction });
  for (const [direction, command] of [
    ['output', ['cat', '/dev/zero']],
    ['input', ['sleep', '1000']],
  ] as const) {
    const before = await scrapeOf(daemon);
    assert.equal(live(before), 0);
    const path = execPath({ command, tty: false, input: true });
    const client = await WebSocketClient.open({
      url: `ws://127.0.0.1:${daemon.port}${path}`,
      protocols: ['v5.channel.k8s.io'],
      ...(direction === 'output' && { readBytesPerSecond: 1 }),
    });
    if (direction === 'input') for (let chunks = 0; chunks < 32; chunks += 1) void client.send(0, Buffer.alloc(65_536));
    const first = await untilScraped(daemon, metrics => held(metrics, direction) > held(before, direction));
    assert.equal(live(first), 1);
    // It grows while it lasts.
    await untilScraped(daemon, metrics => held(metrics, direction) > held(first, direction) + 0.1);
    const [session] = await sessionsOf(daemon);
    await fetch(`${daemon.url}/execlet/v1/sessions/${session ?? ''}`, { method: 'DELETE' });
    client.reset();
    const over = await untilScraped(daemon, metrics => live(metrics) === 0);
    assert.equal(held(await scrapeOf(daemon), direction), held(over, direction), 'and no longer');
  }
});

test('pings are counted: answered, missed, and those that ended a session', async context => {
  const { daemon } = await onStandIn(context, { play: () => undefined }, ['--keepalive-interval', '300ms']);
  const url = `ws://127.0.0.1:${daemon.port}${execPath({ command: ['hang'], tty: false, input: false })}`;
  const protocols = ['v5.channel.k8s.io'];
  const [client] = await Promise.all([
    WebSocketClient.open({ url, protocols }),
    WebSocketClient.open({ url, protocols, answersPings: false }),
  ]);
  const pings = (metrics: Metrics, result: string): number => valueIn(metrics, 'execlet_keepalive_total', { result });
  const metrics = await untilScraped(daemon, now => pings(now, 'answered') > 0 && pings(now, 'ended') > 0);
  assert.equal(pings(metrics, 'ended'), 1);
  assert.ok(pings(metrics, 'missed') > 0);
  client.reset();
});

test('what sessions leave running is counted: the signals it is sent, and what cannot be reached', async () => {
  const { daemon } = served;
  const before = await scrapeOf(daemon);
  const script = 'trap "" HUP TERM; setsid sleep 1000 & echo up; while :; do sleep 1; done';
  const path = execPath({ command: ['sh', '-c', script], tty: true, input: true });
  const client = await WebSocketClient.open({
    url: `ws://127.0.0.1:${daemon.port}${path}`,
    protocols: ['v5.channel.k8s.io'],
  });
  await client.until(() => client.received(1).includes('up'));
  client.reset();
  const metrics = await untilScraped(daemon, now => ended(now) > ended(before));
  const signals = rises(before, metrics, 'execlet_processes_killed_total', 'signal');
  assert.deepEqual(Object.keys(signals), ['SIGHUP', 'SIGTERM', 'SIGKILL']);
  assert.deepEqual(rises(before, metrics, 'execlet_processes_left_total', 'cause'), { new_session: 1 });
});

test('refusals are counted by the check and the status', async () => {
  const { daemon } = served;
  const before = await scrapeOf(daemon);
  await assert.rejects(
    execOverSpdy({
      port: daemon.port,
      path: '/exec/default/none/app?command=x&output=1',
      protocols: ['v4.channel.k8s.io'],
    }),
  );
  const metrics = await scrapeOf(daemon);
  assert.deepEqual(rises(before, metrics, 'execlet_rejected_total', 'stage'), { resolve: 1 });
  assert.deepEqual(rises(before, metrics, 'execlet_rejected_total', 'code'), { '404': 1 });
});

test('an Engine whose event stream breaks, and that does not tell how commands ended', async context => {
  const { engine, daemon } = await onStandIn(context, {
    play: connection => connection.end(stdcopyFrame(1, 'hi\n')),
    inspect: ({ command: [what] }) => ({ Running: what === 'forget', ExitCode: what === 'forget' ? null : 0, Pid: 1 }),
  });
  const before = await scrapeOf(daemon);
  for (const command of ['forget', 'tell']) await rawExec('websocket', { port: daemon.port, command: [command] });
  const after = await untilScraped(daemon, metrics => ended(metrics) === 2);
  assert.deepEqual(rises(before, after, 'execlet_exec_exit_source_total', 'source'), { inspect: 1, unknown: 1 });
  assert.deepEqual(rises(before, after, 'execlet_exec_exit_codes_total', 'class'), { '0': 1, unknown: 1 });

  const restarts = (metrics: Metrics): number => valueIn(metrics, 'execlet_engine_event_stream_restarts_total');
  assert.equal(restarts(after), 0);
  engine.breakEvents();
  await untilScraped(daemon, metrics => valueIn(metrics, 'execlet_engine_up') === 0);
  engine.resumeEvents();
  const back = await untilScraped(daemon, metrics => valueIn(metrics, 'execlet_engine_up') === 1);
  assert.equal(restarts(back), 1);
});

test('a daemon whose Engine never was there has restarted no event stream', async context => {
  const daemon = await Daemon.start({ engine: { dockerHost: 'unix:///nonexistent/docker.sock' } });
  context.after(() => daemon.stop());
  const asked = (metrics: Metrics): number =>
    valueIn(metrics, 'execlet_engine_request_seconds_count', { operation: 'version' });
  const metrics = await untilScraped(daemon, now => asked(now) >= 2);
  assert.equal(valueIn(metrics, 'execlet_engine_event_stream_restarts_total'), 0);
  assert.equal(valueIn(metrics, 'execlet_engine_up'), 0);
});

test('the metrics are served until the last session has been told of the end', async context => {
  const { daemon } = await onStandIn(context, { play: () => undefined }, ['--drain-timeout', '30s']);
  const { port } = await daemon.waitForLog(({ message }) => message === 'serving metrics');
  const url = `ws://127.0.0.1:${daemon.port}${execPath({ command: ['hang'], tty: false, input: false })}`;
  const client = await WebSocketClient.open({ url, protocols: ['v5.channel.k8s.io'] });
  const stopped = daemon.stop();
  await daemon.waitForLog(({ message }) => message === 'waiting for sessions to end');
  const response = await fetch(`http://127.0.0.1:${String(port)}/metrics`);
  const metrics = parseScrape(await response.text());
  assert.equal(valueIn(metrics, 'execlet_sessions_active', { transport: 'websocket', tty: 'false' }), 1);
  client.reset();
  await stopped;
});

test('after all this nothing is in the scrape that is not listed', async () => {
  const metrics = await scrapeOf(served.daemon);
  const names = [...Object.keys(EXECLET_METRICS), ...Object.keys(NODE_METRICS)];
  assert.deepEqual([...metrics.keys()].sort(), names.sort());
  let series = 0;
  for (const [name, { type, help, samples }] of metrics) {
    series += samples.length;
    const listed = EXECLET_METRICS[name];
    if (listed === undefined) {
      const { type: nodes, labels = [] } = NODE_METRICS[name] ?? assert.fail(name);
      assert.equal(type, nodes, name);
      for (const { labels: its } of samples) {
        assert.deepEqual(
          Object.keys(its)
            .filter(label => label !== 'le')
            .sort(),
          [...labels].sort(),
          name,
        );
      }
      continue;
    }
    assert.deepEqual({ type, help }, { type: listed.type, help: listed.help }, name);
    for (const sample of samples) checkLabels(name, listed, sample);
  }
  assert.ok(series < 600, String(series));
});

/** The ids of the sessions that are known, the newest first. */
async function sessionsOf(daemon: Daemon): Promise<string[]> {
  const answer = await fetch(`${daemon.url}/execlet/v1/sessions`);
  return sessionList.parse(await answer.json()).sessions.map(({ id }) => id);
}

async function onStandIn(
  context: TestContext,
  options: StandInOptions,
  args: readonly string[] = [],
): Promise<{ engine: StandInEngine; daemon: Daemon }> {
  const engine = await StandInEngine.start(options);
  const daemon = await Daemon.start({ engine, args: ['--metrics-bind-address', '127.0.0.1:0', ...args] });
  context.after(async () => {
    await daemon.stop();
    await engine.stop();
  });
  return { engine, daemon };
}

test('what a relay has read is collected as it passes, in both directions', async () => {
  const { daemon } = served;
  const { port } = daemon;
  const young = (metrics: Metrics): number => valueIn(metrics, 'nodejs_gc_duration_seconds_count', { kind: 'minor' });
  const mebibytes = 64;
  const runs = {
    output: { command: ['dd', 'if=/dev/zero', 'bs=65536', `count=${mebibytes * 16}`] },
    input: { command: ['wc', '-c'], stdin: Buffer.alloc(mebibytes * 1024 * 1024) },
  };
  for (const run of Object.values(runs)) {
    const before = young(await scrapeOf(daemon));
    await rawExec('spdy', { port, ...run });
    const collections = young(await scrapeOf(daemon)) - before; // one for each 4 MiB; V8 does three by itself
    assert.ok(collections >= mebibytes / 8, String(collections));
  }
});
