import { cpus, release, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import { openDockerd, openStandIn, type BenchEngine } from './bench/engines.ts';
import {
  FULL,
  measureCodecs,
  measureContainers,
  measureFrameSizes,
  measureOn,
  measureSessions,
  measureStart,
  QUICK,
  type Effort,
} from './bench/figures.ts';
import { describe, type Result } from './bench/results.ts';

// `npm run bench`: what execlet costs beside the Engine itself. See docs/performance.md.

const FIGURES = [
  'latency',
  'rate',
  'stdout',
  'stdin',
  'echo',
  'frames',
  'containers',
  'sessions',
  'start',
  'codec',
] as const;
type Figure = (typeof FIGURES)[number];
const ENGINES = ['stand-in', 'dockerd'] as const;
const USAGE = `usage: npm run bench -- [--only ${FIGURES.join(',')}] [--engine ${ENGINES.join(',')}] [--rounds N] [--quick] [--json]`;

const { only, engines, effort, asJson } = readOptions();
const startedAt = Date.now();
const results: Result[] = [];
const measuring = { effort, progress: note };

for (const name of engines) {
  const engine = name === 'dockerd' ? await openDockerd() : await openStandIn();
  try {
    results.push(...(await measureEngine(engine)));
  } finally {
    await engine.end();
  }
}
if (engines.includes('stand-in')) {
  if (only.has('containers')) results.push(...(await measureContainers(measuring)));
  if (only.has('sessions')) results.push(...(await measureSessions(measuring)));
}
if (only.has('codec')) results.push(...measureCodecs(measuring));

const machine = {
  cpus: cpus().length,
  model: cpus()[0]?.model,
  memoryBytes: totalmem(),
  kernel: release(),
  node: process.version,
};
const table = `${JSON.stringify(machine)}\n\n${describe(results)}`;
if (asJson) note(`\n${table}`);
process.stdout.write(
  asJson ? `${JSON.stringify({ at: new Date(), machine, effort, results }, undefined, 2)}\n` : table,
);

async function measureEngine(engine: BenchEngine): Promise<Result[]> {
  const found = await measureOn(engine, { ...measuring, wanted: name => only.has(name) });
  if (engine.name === 'dockerd') return found;
  if (only.has('frames')) found.push(...(await measureFrameSizes(engine, measuring)));
  if (only.has('start')) found.push(...(await measureStart(engine, measuring)));
  return found;
}

function note(text: string): void {
  process.stderr.write(`[${((Date.now() - startedAt) / 1000).toFixed(0).padStart(5)} s] ${text}\n`);
}

interface Options {
  readonly only: ReadonlySet<Figure>;
  readonly engines: readonly BenchEngine['name'][];
  readonly effort: Effort;
  readonly asJson: boolean;
}

/** Ends the process with 2 and one line where an argument is wrong. */
function readOptions(): Options {
  try {
    const { values } = parseArgs({
      options: {
        only: { type: 'string', default: FIGURES.join() },
        engine: { type: 'string', default: ENGINES.join() },
        rounds: { type: 'string' },
        quick: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
      },
    });
    const base = values.quick ? QUICK : FULL;
    return {
      only: new Set(chosen('--only', values.only, FIGURES)),
      engines: chosen('--engine', values.engine, ENGINES),
      effort: { ...base, ...(values.rounds !== undefined && { rounds: wholeNumber('--rounds', values.rounds) }) },
      asJson: values.json,
    };
  } catch (cause) {
    process.stderr.write(`bench: ${cause instanceof Error ? cause.message : String(cause)}; ${USAGE}\n`);
    process.exit(2);
  }
}

function chosen<Name extends string>(flag: string, text: string, names: readonly Name[]): Name[] {
  return text.split(',').map(word => {
    const name = names.find(known => known === word);
    if (name === undefined) throw new Error(`${flag} takes ${names.join(', ')}, not ${word}`);
    return name;
  });
}

function wholeNumber(flag: string, text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= 1_000) return value;
  throw new Error(`${flag} must be a whole number from 1 to 1000, not ${text}`);
}
