import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMetrics, HeldTime } from '../../src/metrics.ts';
import { checkLabels, EXECLET_METRICS, NODE_METRICS, seriesOf } from '../support/metric-list.ts';
import { parseScrape } from '../support/scrape.ts';

test('a hold counts while it lasts, once for each session', () => {
  let now = 1_000;
  const time = new HeldTime(() => now);
  const [one, other] = [time.open(), time.open()];
  one.end(); // never begun
  one.begin();
  one.begin();
  now += 500;
  assert.equal(time.seconds, 0.5);
  other.begin();
  now += 1_000;
  assert.equal(time.seconds, 2.5);
  one.end();
  one.end();
  now += 250;
  other.end();
  now += 10_000;
  assert.equal(time.seconds, 2.75);
});

test('what is counted by plain numbers is taken over whenever the metrics are read', async () => {
  const { registry, relayedBytes } = createMetrics();
  const read = async (): Promise<string[]> => linesOf(await registry.metrics(), 'execlet_relayed_bytes_total');
  relayedBytes.input += 3;
  relayedBytes.output += 4;
  await read();
  relayedBytes.input += 1;
  assert.deepEqual(await read(), [
    'execlet_relayed_bytes_total{direction="input"} 4',
    'execlet_relayed_bytes_total{direction="output"} 4',
  ]);
});

test('a session that has ended is counted by its reason, and by its exit code where one was waited for', async () => {
  const { registry, sessionEnded } = createMetrics();
  const session = { transport: 'websocket', protocol: '', durationMs: 1_500 } as const;
  for (const exitCode of [0, 1, 125, 126, 127, 128, 255]) {
    sessionEnded({ ...session, reason: 'exit', exitCode, exitSource: exitCode === 0 ? 'inspect' : 'event' });
  }
  sessionEnded({ ...session, reason: 'engine_gone', exitCode: undefined, exitSource: 'unknown' });
  sessionEnded({ ...session, reason: 'client_gone', exitCode: undefined, exitSource: undefined });
  const text = await registry.metrics();
  assert.deepEqual(linesOf(text, 'execlet_sessions_total'), [
    'execlet_sessions_total{transport="websocket",protocol="none",reason="exit"} 7',
    'execlet_sessions_total{transport="websocket",protocol="none",reason="engine_gone"} 1',
    'execlet_sessions_total{transport="websocket",protocol="none",reason="client_gone"} 1',
  ]);
  assert.deepEqual(
    linesOf(text, 'execlet_exec_exit_codes_total').map(line => line.replace(/.*class=/, '')),
    ['"0"} 1', '"1_125"} 2', '"126"} 1', '"127"} 1', '"128_up"} 2', '"unknown"} 1'],
  );
  assert.deepEqual(
    linesOf(text, 'execlet_exec_exit_source_total').map(line => line.replace(/.*source=/, '')),
    ['"event"} 6', '"inspect"} 1', '"unknown"} 1'],
  );
  assert.deepEqual(linesOf(text, 'execlet_session_duration_seconds_sum'), [
    'execlet_session_duration_seconds_sum 13.5',
  ]);
});

test('live sessions are counted by their transport and terminal, anew each time', async () => {
  const { registry, setLive } = createMetrics();
  setLive([
    { transport: 'spdy', tty: true },
    { transport: 'spdy', tty: true },
    { transport: 'websocket', tty: false },
  ]);
  assert.deepEqual(linesOf(await registry.metrics(), 'execlet_sessions_active'), [
    'execlet_sessions_active{transport="spdy",tty="true"} 2',
    'execlet_sessions_active{transport="spdy",tty="false"} 0',
    'execlet_sessions_active{transport="websocket",tty="true"} 0',
    'execlet_sessions_active{transport="websocket",tty="false"} 1',
  ]);
  setLive([]);
  assert.ok(linesOf(await registry.metrics(), 'execlet_sessions_active').every(line => line.endsWith(' 0')));
});

/** Of the metric's samples. */
function linesOf(text: string, name: string): string[] {
  return text.split('\n').filter(line => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
}

test('handlers are counted by their scheme, anew each time', async () => {
  const { registry, setHandlers } = createMetrics();
  const read = async (): Promise<string[]> =>
    (await registry.metrics()).split('\n').filter(line => line.startsWith('execlet_handlers{'));
  setHandlers([{ scheme: 'kubernetes' }, { scheme: 'plain' }, { scheme: 'kubernetes' }]);
  assert.deepEqual(await read(), [
    'execlet_handlers{scheme="kubernetes"} 2',
    'execlet_handlers{scheme="compose"} 0',
    'execlet_handlers{scheme="plain"} 1',
  ]);
  setHandlers([]);
  assert.ok((await read()).every(line => line.endsWith(' 0')));
});

test('every metric is as it is listed: type, help, labels and buckets; all at 0 from the start', async () => {
  const scraped = parseScrape(await createMetrics().registry.metrics());
  assert.deepEqual([...scraped.keys()].sort(), [...Object.keys(EXECLET_METRICS), ...Object.keys(NODE_METRICS)].sort());
  for (const [name, listed] of Object.entries(EXECLET_METRICS)) {
    const { type, help, samples } = scraped.get(name) ?? assert.fail(name);
    assert.deepEqual({ type, help }, { type: listed.type, help: listed.help });
    assert.doesNotMatch(help, /"/, 'OpenMetrics would escape it');
    assert.equal(samples.length, listed.startsEmpty === true ? 0 : seriesOf(listed), name);
    assert.equal(new Set(samples.map(sample => JSON.stringify([sample.name, sample.labels]))).size, samples.length);
    for (const sample of samples) {
      checkLabels(name, listed, sample);
      assert.equal(sample.value, name === 'execlet_build_info' ? 1 : 0, sample.name);
    }
  }
});

test('there are fewer than 600 series when every label has been seen', async () => {
  const scraped = parseScrape(await createMetrics().registry.metrics());
  const ours = Object.values(EXECLET_METRICS).reduce((sum, metric) => sum + seriesOf(metric), 0);
  // Kinds of resources that Node has open come and go: with every one that it knows there would be 40 at most.
  const node = [...scraped]
    .filter(([name]) => name in NODE_METRICS)
    .reduce((sum, [, { samples }]) => sum + samples.length, 0);
  const garbageCollection = 4 * 9;
  assert.ok(ours + node + garbageCollection + 40 < 600, `${ours} + ${node} + ${garbageCollection} + 40`);
  for (const { buckets = [] } of Object.values(EXECLET_METRICS)) assert.ok(buckets.length <= 10);
});
