import { TextTable } from '../../src/client/text-table.ts';
import { median } from './statistics.ts';

/** How a metric is shown. */
const METRICS = {
  p50Ms: { heading: 'p50 ms', digits: 2 },
  p90Ms: { heading: 'p90 ms', digits: 2 },
  p99Ms: { heading: 'p99 ms', digits: 2 },
  aboveEngineMs: { heading: 'p50 above the Engine, ms', digits: 2 },
  execsPerSecond: { heading: 'execs/s', digits: 0 },
  cpuMsPerExec: { heading: 'daemon CPU ms/exec', digits: 2 },
  mbPerSecond: { heading: 'MB/s', digits: 0 },
  cpuSecondsPerGb: { heading: 'daemon CPU s/GB', digits: 2 },
  cpuUsPerKey: { heading: 'daemon CPU µs/key', digits: 0 },
  kibPerSession: { heading: 'KiB/session', digits: 1 },
  kibPerSessionCollected: { heading: 'KiB/session after gc', digits: 1 },
  socketsPerSession: { heading: 'sockets/session', digits: 2 },
  startMs: { heading: 'start to ready, ms', digits: 0 },
  rssMib: { heading: 'idle RSS MiB', digits: 1 },
} as const;

export type Metric = keyof typeof METRICS;
export type Metrics = Readonly<Partial<Record<Metric, number>>>;

/** One line of a figure: medians over the rounds. */
export interface Result {
  readonly figure: string;
  readonly engine: 'stand-in' | 'dockerd' | 'none';
  /** What was measured: `raw Engine`, or the way through execlet, or what it was measured with. */
  readonly of: string;
  readonly metrics: Metrics;
  /** Of the same metrics: the median of the rounds' ratios to the raw Engine in the same round. */
  readonly ratios: Metrics;
}

/**
 * Medians of rounds in which everything was measured once. The first of each round is what the others are compared with, where
 * `baseline` says so.
 */
export function summarize(
  rounds: readonly (readonly Metrics[])[],
  baseline: boolean,
): Pick<Result, 'metrics' | 'ratios'>[] {
  const [first = []] = rounds;
  return first.map((_, column) => {
    const metrics = mediansOf(rounds.map(round => round[column] ?? {}));
    const ratios = !baseline || column === 0 ? {} : mediansOf(rounds.map(round => ratiosOf(round[column], round[0])));
    return { metrics, ratios };
  });
}

function mediansOf(rounds: readonly Metrics[]): Metrics {
  const names = Object.keys(rounds[0] ?? {}) as Metric[];
  return Object.fromEntries(names.map(name => [name, median(rounds.map(round => round[name] ?? NaN))]));
}

function ratiosOf(of: Metrics = {}, to: Metrics = {}): Metrics {
  const names = (Object.keys(of) as Metric[]).filter(name => to[name] !== undefined);
  return Object.fromEntries(names.map(name => [name, (of[name] ?? NaN) / (to[name] ?? NaN)]));
}

/** A table for each figure and engine. */
export function describe(results: readonly Result[]): string {
  const groups = Map.groupBy(results, ({ figure, engine }) => (engine === 'none' ? figure : `${figure}, ${engine}`));
  return [...groups].map(([title, group]) => `${title}\n${tableOf(group)}`).join('\n');
}

function tableOf(results: readonly Result[]): string {
  const columns = (Object.keys(METRICS) as Metric[]).filter(name => results.some(({ metrics }) => name in metrics));
  const table = new TextTable(['', ...columns.map(name => METRICS[name].heading)]);
  return table.lines(results.map(result => [result.of, ...columns.map(name => cell(result, name))]));
}

function cell({ metrics, ratios }: Result, name: Metric): string {
  const [value, ratio] = [metrics[name], ratios[name]];
  if (value === undefined) return '';
  const text = value.toFixed(METRICS[name].digits);
  return ratio === undefined ? text : `${text} (×${ratio.toFixed(2)})`;
}
