import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { join } from 'node:path';
import { Credentials } from '../support/access.ts';
import { CHECKOUT } from '../support/checkout.ts';
import { runCommand } from '../support/command.ts';
import { Daemon } from '../support/daemon.ts';
import { gateSize } from '../support/gates.ts';
import { forgetPeak, peakResidentBytes } from '../support/process-watch.ts';
import type { Flood } from '../support/refused-upgrades.ts';
import { serveWeb } from '../support/served.ts';

/** Each measured quiet, then flooded; the medians count, since the machine has its own moods. */
const ROUNDS = gateSize({ full: 5, short: 1 });
const SECONDS = gateSize({ full: 10, short: 3 });
const MOST_SLOWER = 2;
const MOST_HEAP_GROWTH_BYTES = 3 * 1024 * 1024;
/** V8 takes up to so much for garbage before it looks through it, with 105 000 refusals as with 50 000; what is kept shows in the heap. */
const MOST_RSS_GROWTH_BYTES = 176 * 1024 * 1024;
const FLOODS = [
  { name: 'plain', perSecond: 1_000, tls: false },
  { name: 'TLS', perSecond: 150, tls: true },
];

const credentials = await Credentials.make('cheap-refusals');
const tokens = [...(await credentials.tokens(['the-token,alice,1'])), '--authorization-mode', 'AlwaysAllow'];
const tls = await credentials.tls();
const served = serveWeb();
const since = Date.now() / 1_000;

for (const { name, perSecond, tls: overTls } of FLOODS) {
  describe(`${perSecond} refused upgrades a second, ${name}, for ${SECONDS} s`, () => {
    let daemon: Daemon;
    before(async () => {
      daemon = await Daemon.start({
        engine: served.engine,
        insides: true,
        // As it is set up for real: each refusal is logged, and on record.
        args: [...tokens, ...(overTls ? tls : []), '--session-log', join(credentials.directory, `${name}.log`)],
      });
    });

    let typist: Typist;
    after(async () => {
      await typist.leave();
      await daemon.stop();
    });

    test('a session goes on as it did, memory stays, and the Engine is not asked', async context => {
      typist = await Typist.start(daemon, overTls);
      await typist.type(1_000);
      await flood(daemon, perSecond, SECONDS, overTls); // warms up: V8 takes more memory for more garbage, up to a limit
      const heapBefore = (await daemon.insides()).heapBytes;
      await forgetPeak(daemon.pid);
      const rssBefore = await peakResidentBytes(daemon.pid);
      const rounds: { quiet: number; flooded: number }[] = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        const quiet = await typist.type(SECONDS * 1_000);
        const flooding = flood(daemon, perSecond, SECONDS, overTls);
        const flooded = await typist.type(SECONDS * 1_000);
        const { sent, statuses, unanswered } = await flooding;
        assert.deepEqual({ statuses, unanswered }, { statuses: { 401: sent }, unanswered: 0 });
        rounds.push({ quiet: percentile(quiet, 0.99), flooded: percentile(flooded, 0.99) });
        context.diagnostic(
          `keystroke echo: p50 ${show(percentile(quiet, 0.5))} quiet, ${show(percentile(flooded, 0.5))} flooded; ` +
            `p99 ${show(percentile(quiet, 0.99))} quiet, ${show(percentile(flooded, 0.99))} flooded`,
        );
      }
      const { heapBytes: heapAfter } = await daemon.insides();
      const rssPeak = await peakResidentBytes(daemon.pid);
      const [quiet, flooded] = [median(rounds.map(({ quiet }) => quiet)), median(rounds.map(({ flooded }) => flooded))];
      context.diagnostic(`p99: ${show(quiet)} quiet, ${show(flooded)} flooded: × ${(flooded / quiet).toFixed(2)}`);
      context.diagnostic(
        `heap: ${(heapBefore / 1e6).toFixed(1)} MB, then ${(heapAfter / 1e6).toFixed(1)} MB; ` +
          `RSS: ${(rssBefore / 1e6).toFixed(0)} MB, at most ${(rssPeak / 1e6).toFixed(0)} MB`,
      );
      assert.ok(heapAfter - heapBefore <= MOST_HEAP_GROWTH_BYTES, `${heapBefore} became ${heapAfter}`);
      assert.ok(rssPeak - rssBefore <= MOST_RSS_GROWTH_BYTES, `${rssBefore} became ${rssPeak}`);
      // A time is judged only where it is measured for long enough to mean something.
      if (ROUNDS > 1) assert.ok(flooded <= MOST_SLOWER * quiet, `${show(quiet)} became ${show(flooded)}`);
    });
  });
}

test('no exec was created but those of the two sessions', async () => {
  const events = await served.engine.docker.getEvents({
    since,
    until: Date.now() / 1_000,
    filters: { container: [served.web.id], event: ['exec_create'] },
  });
  assert.equal((await text(events)).split('\n').filter(line => line !== '').length, FLOODS.length);
});

/** A terminal in a process of its own. */
class Typist {
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess) {
    this.#process = process;
  }

  static async start(daemon: Daemon, overTls: boolean): Promise<Typist> {
    const command = ['sh', '-c', 'stty raw -echo; echo ready; exec cat'];
    const query = command.map(word => `command=${encodeURIComponent(word)}`).join('&');
    const url = `${overTls ? 'wss' : 'ws'}://127.0.0.1:${daemon.port}/exec/default/web/app?${query}&input=1&output=1&tty=1`;
    const script = join(CHECKOUT, 'test', 'support', 'keystrokes.ts');
    const child = fork(script, [url, 'Bearer the-token', ...(overTls ? [credentials.servers.certificate] : [])]);
    await once(child, 'message');
    return new Typist(child);
  }

  /** Milliseconds from each keystroke to its echo. */
  async type(forMs: number): Promise<number[]> {
    const answer = once(this.#process, 'message');
    this.#process.send(forMs);
    const [echoes] = (await answer) as [number[]];
    return echoes;
  }

  async leave(): Promise<void> {
    const left = once(this.#process, 'exit');
    this.#process.disconnect();
    await left;
  }
}

async function flood(daemon: Daemon, perSecond: number, seconds: number, overTls: boolean): Promise<Flood> {
  const script = join(CHECKOUT, 'test', 'support', 'refused-upgrades.ts');
  const args = [script, String(daemon.port), String(perSecond), String(seconds), overTls ? 'tls' : 'plain'];
  const { stdout, stderr } = await runCommand(process.execPath, args, { timeoutMs: (seconds + 60) * 1_000 });
  if (stdout.length === 0) throw new Error(stderr);
  return JSON.parse(stdout.toString()) as Flood;
}

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

function show(ms: number): string {
  return `${ms.toFixed(2)} ms`;
}
