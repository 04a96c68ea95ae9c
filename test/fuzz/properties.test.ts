import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { keptInputs } from './corpus.ts';
import { check, type FuzzTarget } from './target.ts';
import { TARGETS } from './targets.ts';

const RUNS = 500;

function inputsOf({ tokens, nearlyRight }: FuzzTarget): fc.Arbitrary<Buffer> {
  const bytes = fc.uint8Array({ maxLength: 200 }).map(array => Buffer.from(array));
  const token = fc.constantFrom(...tokens.map(words => Buffer.from(words)));
  const soup = fc
    .array(fc.oneof({ arbitrary: token, weight: 4 }, { arbitrary: fc.uint8Array({ maxLength: 4 }), weight: 1 }), {
      maxLength: 12,
    })
    .map(parts => Buffer.concat(parts));
  const right = nearlyRight?.map(words => Buffer.from(words));
  return fc.oneof(
    bytes,
    { arbitrary: soup, weight: 2 },
    ...(right === undefined ? [] : [{ arbitrary: right, weight: 3 }]),
  );
}

for (const target of TARGETS) {
  describe(target.name, () => {
    test('any input keeps the promises of the target', async () => {
      await fc.assert(
        fc.asyncProperty(inputsOf(target), input => check(target, input)),
        { numRuns: RUNS },
      );
    });
    test('so do its corpus and all that once failed', async () => {
      const corpus = keptInputs('corpus', target.name);
      assert.ok(corpus.length > 0, `test/fuzz/corpus/${target.name} holds no seeds`);
      for (const { file, input } of [...corpus, ...keptInputs('crashes', target.name)]) {
        await check(target, input).catch((cause: unknown) => {
          throw new Error(`test/fuzz/*/${target.name}/${basename(file)} fails`, { cause });
        });
      }
    });
  });
}

test('no folder of corpus and crashes is without a target', () => {
  const names = TARGETS.map(({ name }) => name);
  for (const collection of ['corpus', 'crashes']) {
    const folder = join(import.meta.dirname, collection);
    for (const name of existsSync(folder) ? readdirSync(folder) : []) assert.ok(names.includes(name), name);
  }
});
