import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { keepInput, keptInputs } from './corpus.ts';
import { Coverage } from './coverage.ts';
import { mutated, shrunk } from './mutate.ts';
import type { Random } from '../support/random.ts';
import { check, type FuzzTarget } from './target.ts';

const SOURCES = join(import.meta.dirname, '..', '..', 'src');
/** How long a target runs before the next one has its turn. */
const TURN_MS = 500;
/** Between two looks at the coverage; a look takes some milliseconds. */
const BATCH_MS = 40;
const MAX_BATCH = 2_000;
/** A target with so many different failures is left alone for the rest of the run. */
const MAX_CRASHES = 10;
const PROGRESS_MS = 5_000;

export interface FuzzOptions {
  readonly targets: readonly FuzzTarget[];
  readonly durationMs: number;
  readonly random: Random;
  /** Ends the run early, with its summary. */
  readonly signal: AbortSignal;
  /** The folder of `corpus/` and `crashes/`. */
  readonly root: string;
  /** Write inputs that reach new code to the corpus. */
  readonly grow: boolean;
  readonly report: (line: string) => void;
}

export interface FuzzSummary {
  readonly executions: number;
  /** The files written below `crashes/`. */
  readonly crashes: readonly string[];
}

/** A target's part of a run. Only what reaches new code is kept, so the number of its branches bounds the memory. */
interface Run {
  readonly target: FuzzTarget;
  readonly tokens: readonly Buffer[];
  readonly corpus: Buffer[];
  /** Where it has failed, so that each mistake is written once. */
  readonly failures: Set<string>;
  executions: number;
}

/**
 * Mutates the corpus of each target in turn and checks what comes out, until the time is over or the signal aborts. Inputs that
 * reach code of the target which none before has reached join the corpus.
 */
export async function fuzz(options: FuzzOptions): Promise<FuzzSummary> {
  const { targets, durationMs, signal, root, report } = options;
  const crashes: string[] = [];
  const coverage = await Coverage.of([
    ...new Set(targets.flatMap(({ sources }) => sources.map(source => join(SOURCES, source)))),
  ]);
  const startedAt = performance.now();
  let toldAt = startedAt;
  const over = (): boolean => signal.aborted || performance.now() - startedAt >= durationMs;
  const runs = targets.map((target): Run => {
    const kept = [...keptInputs('corpus', target.name, root), ...keptInputs('crashes', target.name, root)];
    const tokens = target.tokens.map(token => Buffer.from(token));
    return { target, tokens, corpus: kept.map(({ input }) => input), failures: new Set(), executions: 0 };
  });
  const executions = (): number => runs.reduce((sum, run) => sum + run.executions, 0);
  const progress = (): void => {
    toldAt = performance.now();
    const seconds = (toldAt - startedAt) / 1000;
    const kept = runs.reduce((sum, { corpus }) => sum + corpus.length, 0);
    report(
      `${seconds.toFixed(0)} s: ${executions()} executions (${(executions() / seconds).toFixed(0)}/s), ` +
        `${runs.length} targets, corpus ${kept}, covered ${coverage.size}, crashes ${crashes.length}`,
    );
  };

  try {
    for (const run of runs) for (const input of [...run.corpus]) await attempt(run, input);
    coverage.add(await coverage.look());
    while (!over()) {
      for (const run of runs) {
        if (run.failures.size >= MAX_CRASHES) continue;
        for (const turnEnds = performance.now() + TURN_MS; performance.now() < turnEnds && !over();) await batch(run);
        if (performance.now() - toldAt >= PROGRESS_MS) progress();
      }
      if (runs.every(({ failures }) => failures.size >= MAX_CRASHES)) break;
    }
  } finally {
    coverage.stop();
  }
  progress();
  return { executions: executions(), crashes };

  async function batch(run: Run): Promise<void> {
    const inputs: Buffer[] = [];
    for (const ends = performance.now() + BATCH_MS; performance.now() < ends && inputs.length < MAX_BATCH;) {
      const input = mutated(run, options.random);
      inputs.push(input);
      await attempt(run, input);
    }
    const ran = await coverage.look();
    if (coverage.isNew(ran)) await keepNew(run, inputs);
    coverage.add(ran); // what could not be reached a second time is not looked for again
    await setImmediate(); // lets a signal in
  }

  /** Finds those among the inputs that reach new code: runs them again, by halves. */
  async function keepNew(run: Run, inputs: readonly Buffer[]): Promise<void> {
    for (const input of inputs) await failureOf(run.target, input);
    const ran = await coverage.look();
    if (!coverage.isNew(ran)) return;
    const [input] = inputs;
    if (inputs.length === 1 && input !== undefined) {
      coverage.add(ran);
      run.corpus.push(Buffer.from(input));
      if (options.grow) keepInput('corpus', run.target.name, input, root);
      return;
    }
    const half = Math.ceil(inputs.length / 2);
    await keepNew(run, inputs.slice(0, half));
    await keepNew(run, inputs.slice(half));
  }

  async function attempt(run: Run, input: Buffer): Promise<void> {
    run.executions += 1;
    const failure = await failureOf(run.target, input);
    if (failure === undefined || run.failures.has(failure.place)) return;
    run.failures.add(failure.place);
    const same = async (candidate: Buffer): Promise<boolean> =>
      (await failureOf(run.target, candidate))?.place === failure.place;
    const file = keepInput('crashes', run.target.name, await shrunk(input, same), root);
    crashes.push(file);
    report(`${run.target.name}: ${failure.message}\n  ${file}`);
  }
}

/** How a check fails: the message, and a name for the mistake, the same for all inputs that make it. */
async function failureOf(
  target: FuzzTarget,
  input: Buffer,
): Promise<{ readonly message: string; readonly place: string } | undefined> {
  try {
    await check(target, input);
    return undefined;
  } catch (error) {
    if (!(error instanceof Error)) return { message: String(error), place: 'thrown' };
    const frames = error.stack?.split('\n').filter(line => /^ +at .*\.ts:\d+/.test(line)) ?? [];
    const place = frames.find(line => !line.includes('/test/fuzz/target.ts')) ?? frames[0] ?? '';
    return { message: `${error.name}: ${error.message.split('\n')[0] ?? ''}`, place: `${error.name} ${place.trim()}` };
  }
}
