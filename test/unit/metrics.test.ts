import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMetrics, HeldTime } from '../../src/metrics.ts';

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
  const read = async (): Promise<string[]> =>
    (await registry.metrics()).split('\n').filter(line => line.startsWith('execlet_relayed_bytes_total{'));
  relayedBytes.input += 3;
  relayedBytes.output += 4;
  await read();
  relayedBytes.input += 1;
  assert.deepEqual(await read(), [
    'execlet_relayed_bytes_total{direction="input"} 4',
    'execlet_relayed_bytes_total{direction="output"} 4',
  ]);
});

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
