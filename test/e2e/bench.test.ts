import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { z } from 'zod';
import { CHECKOUT } from '../support/checkout.ts';
import { mustRun, runCommand, type CommandResult } from '../support/command.ts';

// That it measures, not what: figures of a busy machine say nothing.

const WAYS = ['SPDY v4', 'WebSocket v4', 'WebSocket v5'];
const TARGETS = ['raw Engine', ...WAYS, ...WAYS.map(way => `${way}, TLS`)];

const report = z.object({
  machine: z.object({ cpus: z.int(), node: z.string() }),
  results: z.array(
    z.object({
      figure: z.string(),
      engine: z.string(),
      of: z.string(),
      metrics: z.record(z.string(), z.number()),
      ratios: z.record(z.string(), z.number()),
    }),
  ),
});

before(async () => {
  await mustRun('npm', ['run', '--silent', 'build'], { cwd: CHECKOUT, timeoutMs: 120_000 });
});

function bench(...args: string[]): Promise<CommandResult> {
  return runCommand(process.execPath, [join(CHECKOUT, 'scripts', 'bench.ts'), ...args], { timeoutMs: 300_000 });
}

test('every figure is measured for every way through execlet, beside the Engine itself', async () => {
  const { exitCode, stdout, stderr } = await bench('--quick', '--engine', 'stand-in', '--json');
  assert.equal(exitCode, 0, stderr);
  const { results } = report.parse(JSON.parse(stdout.toString()));
  const figures = Map.groupBy(results, ({ figure }) => figure);
  for (const compared of [
    'exec latency',
    'execs at concurrency 8',
    'execs at concurrency 32',
    'stdout',
    'stdin',
    'keystroke echo',
  ]) {
    const found = figures.get(compared) ?? [];
    assert.deepEqual(
      found.map(({ of }) => of),
      TARGETS,
      compared,
    );
    for (const { of, ratios } of found.slice(1)) assert.ok(Object.keys(ratios).length > 0, `${compared}: ${of}`);
  }
  for (const other of ['frame size', 'start', 'registered containers', 'quiet sessions', 'codec']) {
    assert.ok(figures.has(other), other);
  }
  for (const { figure, of, metrics } of results) {
    for (const [name, value] of Object.entries(metrics)) {
      assert.ok(Number.isFinite(value), `${figure}, ${of}: ${name} is ${value}`);
    }
  }
  for (const { metrics } of figures.get('quiet sessions') ?? []) {
    assert.equal(metrics.socketsPerSession, 2); // the client's and the Engine's
  }
});

test('the real Engine is measured too, as a table', async () => {
  const { exitCode, stdout, stderr } = await bench('--quick', '--engine', 'dockerd', '--only', 'latency');
  assert.equal(exitCode, 0, stderr);
  assert.match(stdout.toString(), /^exec latency, dockerd\n.*p50 ms.*\nraw Engine +[\d.]+ /m);
});

test('a wrong argument is one line and exit code 2', async () => {
  for (const args of [['--only', 'nothing'], ['--engine', 'podman'], ['--rounds', '0'], ['--nothing'], ['now']]) {
    const { exitCode, stdout, stderr } = await bench(...args);
    assert.deepEqual([exitCode, stdout.length], [2, 0], args.join(' '));
    assert.match(stderr, /^bench: [^\n]+\n$/);
  }
});
