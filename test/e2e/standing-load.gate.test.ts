import assert from 'node:assert/strict';
import type { Duplex } from 'node:stream';
import { test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { slopePerMinute } from '../../scripts/soak/daemon-usage.ts';
import { kubernetesLabels } from '../support/containers.ts';
import { Daemon } from '../support/daemon.ts';
import { startTestEngine, type TestEngine } from '../support/engine.ts';
import { gateSize, times } from '../support/gates.ts';
import { holdExec, type HeldExec } from '../support/held-exec.ts';
import { residentBytes } from '../support/process-watch.ts';
import { rawExec, TRANSPORTS } from '../support/raw-exec.ts';
import { StandInEngine, stdcopyFrame, type StandInExec } from '../support/stand-in-engine.ts';

// A node on an ordinary day: many sessions that are open and quiet, and now and then a short exec. What it costs, and whether it grows.

const IDLE_SESSIONS = gateSize({ full: 500, short: 40 });
const SECONDS = gateSize({ full: 600, short: 20 });
const SCRAPE_INTERVAL_MS = gateSize({ full: 15_000, short: 2_000 });
/** Sessions that are opened at the same time. */
const CONCURRENCY = 8;
const MIB = 1024 * 1024;

const engines = [
  { name: 'dockerd', perSecond: 5, start: startDockerd },
  { name: 'the stand-in Engine', perSecond: 20, start: startStandIn },
];
for (const { name, perSecond, start } of engines) {
  test(`${IDLE_SESSIONS} quiet sessions and ${perSecond} execs a second for ${SECONDS} s, before ${name}`, async context => {
    const engine = await start();
    context.after(() => engine.stop());
    const daemon = await Daemon.start({ engine, args: ['--max-sessions-per-container', '1000'] });
    context.after(() => daemon.stop());

    const held: HeldExec[] = [];
    await times(IDLE_SESSIONS, CONCURRENCY, async index => {
      const session = await holdExec(TRANSPORTS[index % 2] ?? 'spdy', {
        port: daemon.port,
        command: ['cat'],
        tty: index % 4 < 2,
      });
      await session.send('up\n');
      await session.until('up');
      held.push(session);
    });

    const wrong: string[] = [];
    const pending = new Set<Promise<void>>();
    const samples: Sample[] = [];
    const startedAt = performance.now();
    let sent = 0;
    let scrapedAt = startedAt;
    for (let now = startedAt; now - startedAt < SECONDS * 1_000; now = performance.now()) {
      while (sent < ((now - startedAt) / 1_000) * perSecond) {
        const exec = runTrue(daemon, sent, wrong).finally(() => pending.delete(exec));
        pending.add(exec);
        sent += 1;
      }
      if (now - scrapedAt >= SCRAPE_INTERVAL_MS) {
        scrapedAt = now;
        samples.push(await takeSample(daemon, (now - startedAt) / 60_000));
      }
      await delay(10);
    }
    await Promise.all(pending);
    report(context, sent, samples);

    assert.deepEqual(wrong, []);
    // Each of them is still there, and still works.
    await times(held.length, CONCURRENCY, async index => {
      await held[index]?.send('still here\n');
      await held[index]?.until('still here');
    });
    assert.equal((await takeSample(daemon, 0)).active, IDLE_SESSIONS);
  });
}

interface Sample {
  readonly minutes: number;
  readonly scrapeMs: number;
  readonly residentBytes: number;
  /** The p99 of the time since the scrape before. */
  readonly loopLagMs: number;
  readonly active: number;
}

async function takeSample(daemon: Daemon, minutes: number): Promise<Sample> {
  const startedAt = performance.now();
  const response = await fetch(`${daemon.url}/metrics`, { headers: { Connection: 'close' } });
  const text = await response.text();
  const scrapeMs = performance.now() - startedAt;
  const sum = (name: string): number =>
    [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))].reduce(
      (all, [, one]) => all + Number(one),
      0,
    );
  return {
    minutes,
    scrapeMs,
    residentBytes: await residentBytes(daemon.pid),
    loopLagMs: sum('nodejs_eventloop_lag_p99_seconds') * 1_000,
    active: sum('execlet_sessions_active'),
  };
}

async function runTrue(daemon: Daemon, index: number, wrong: string[]): Promise<void> {
  try {
    const { status } = await rawExec(TRANSPORTS[index % 2] ?? 'spdy', { port: daemon.port, command: ['true'] });
    if (!status.includes('"Success"')) wrong.push(status);
  } catch (cause) {
    wrong.push(String(cause));
  }
}

function report(context: TestContext, sent: number, samples: readonly Sample[]): void {
  const of = (key: keyof Sample): number[] => samples.map(sample => sample[key]).sort((a, b) => a - b);
  const median = (values: number[]): string => (values[values.length >> 1] ?? NaN).toFixed(1);
  const most = (values: number[]): string => (values.at(-1) ?? NaN).toFixed(1);
  const residentMib = (sample: Sample | undefined): number => (sample?.residentBytes ?? NaN) / MIB;
  const [first, last] = [residentMib(samples.at(0)), residentMib(samples.at(-1))];
  context.diagnostic(
    [
      `${sent} execs`,
      `RSS ${first.toFixed(1)} → ${last.toFixed(1)} MiB, slope ${slopePerMinute(samples, residentMib).toFixed(3)} MiB a minute`,
      `event-loop lag p99 ${median(of('loopLagMs'))} ms (median), ${most(of('loopLagMs'))} ms (most)`,
      `scrape ${median(of('scrapeMs'))} ms (median), ${most(of('scrapeMs'))} ms (most)`,
    ].join('; '),
  );
}

interface ServedEngine {
  readonly dockerHost: string;
  stop(): Promise<void>;
}

async function startDockerd(): Promise<ServedEngine> {
  const engine: TestEngine = await startTestEngine();
  await engine.createContainer({ labels: kubernetesLabels({ namespace: 'default', pod: 'web', container: 'app' }) });
  return engine;
}

function startStandIn(): Promise<ServedEngine> {
  return StandInEngine.start({ play: playCatOrTrue });
}

/** `cat` prints what it is sent; `true` ends at once. */
function playCatOrTrue(connection: Duplex, exec: StandInExec): void {
  const {
    command: [program],
    created,
  } = exec;
  if (program === 'cat') {
    connection.on('data', (chunk: Buffer) => connection.write(created.Tty ? chunk : stdcopyFrame(1, chunk)));
    return;
  }
  connection.end();
  exec.sendExit(0);
}
