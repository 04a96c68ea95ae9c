import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { parseDuration } from '../../src/config/duration.ts';
import { keepInput, keptInputs } from './corpus.ts';
import { fuzz, type FuzzOptions, type FuzzSummary } from './fuzzer.ts';
import { Random } from '../support/random.ts';
import type { FuzzTarget } from './target.ts';

async function temporaryRoot(context: TestContext): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'execlet-fuzz-'));
  context.after(() => rm(root, { recursive: true, force: true }));
  return root;
}

function run(target: FuzzTarget, options: Pick<FuzzOptions, 'root'> & Partial<FuzzOptions>): Promise<FuzzSummary> {
  const { signal } = new AbortController();
  const random = new Random(1);
  return fuzz({
    targets: [target],
    durationMs: 60_000,
    random,
    signal,
    grow: false,
    report: () => undefined,
    ...options,
  });
}

test('an input that fails is found from the corpus, made short, and written once', async context => {
  const root = await temporaryRoot(context);
  const ending = new AbortController();
  let failures = 0;
  const target: FuzzTarget = {
    name: 'fragile',
    sources: [],
    tokens: ['!'],
    check: input => {
      if (!input.includes('seed') || !input.includes('!')) return;
      failures += 1;
      if (failures > 100) ending.abort();
      throw new RangeError('it broke');
    },
  };
  keepInput('corpus', target.name, Buffer.from('behind a long introduction: seed'), root);
  const lines: string[] = [];
  const { crashes } = await run(target, { root, signal: ending.signal, report: line => lines.push(line) });
  assert.equal(crashes.length, 1);
  const [file = ''] = crashes;
  assert.equal((await readFile(file, 'latin1')).length, 'seed!'.length);
  assert.ok(lines.some(line => line.startsWith('fragile: RangeError: it broke') && line.includes(basename(file))));
});

test('inputs that reach new code join the corpus', async context => {
  const root = await temporaryRoot(context);
  const ending = new AbortController();
  const target: FuzzTarget = {
    name: 'duration',
    sources: ['config/duration.ts'],
    tokens: ['1', 's'],
    check: input => {
      if (parseDuration(input.toString()) !== undefined) ending.abort(); // what its batch has reached is still looked at
    },
  };
  keepInput('corpus', target.name, Buffer.from('x'), root);
  await run(target, { root, signal: ending.signal, grow: true });
  const grown = keptInputs('corpus', target.name, root).map(({ input }) => parseDuration(input.toString()));
  assert.ok(grown.some(milliseconds => milliseconds !== undefined));
});

test('the same seed gives the same numbers', () => {
  const numbers = (seed: number): number[] => {
    const random = new Random(seed);
    return Array.from({ length: 100 }, () => random.below(10));
  };
  assert.deepEqual(numbers(7), numbers(7));
  assert.notDeepEqual(numbers(7), numbers(8));
  assert.deepEqual([...new Set(numbers(7))].sort(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});
