import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmod, mkdir, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { inspect } from 'node:util';
import { readBounded, WatchedFiles, type WatchedFilesOptions } from '../../../src/files/watched-file.ts';
import { temporaryDirectory } from '../../support/cleanup.ts';

const INTERVAL_MS = 5_000;

/** A fresh directory whose files are watched, with time that only `nextReport` and `looks` move. */
async function directory(context: TestContext) {
  const { path, remove } = await temporaryDirectory('watched');
  context.after(remove);
  context.mock.timers.enable({ apis: ['setInterval'] });
  const reports: string[] = [];
  const look = async (): Promise<void> => {
    context.mock.timers.tick(INTERVAL_MS);
    await setImmediate();
  };
  let read = 0;
  return {
    path,
    at: (name: string) => join(path, name),
    reports,
    /** A pair that belongs together when both start with the same word. */
    open: async (given: Partial<WatchedFilesOptions<string>> & Pick<WatchedFilesOptions<string>, 'paths'>) => {
      const files = await WatchedFiles.open<string>({
        name: 'test files',
        load: pairOf,
        onReload: (result, error) => void reports.push(error === undefined ? result : `${result}: ${error.message}`),
        ...given,
      });
      context.after(() => files.close());
      return files;
    },
    /** What is reported next, however many looks that takes. */
    nextReport: async (): Promise<string> => {
      while (reports.length === read) await look();
      return reports[read++] ?? '';
    },
    /** Time for several looks. */
    looks: async (): Promise<void> => {
      for (let looks = 0; looks < 50; looks++) await look();
    },
  };
}

function pairOf(...contents: readonly Buffer[]): string {
  const words = contents.map(content => content.toString().split(' ')[0] ?? '');
  if (new Set(words).size !== 1) throw new Error(`${words.length} files that are no pair`);
  return words[0] ?? '';
}

/** Replaces what `..data` points to, in the way of the kubelet's atomic writer. */
async function swap(mount: string, version: string, contents: Readonly<Record<string, string>>): Promise<void> {
  await mkdir(join(mount, version));
  for (const [name, content] of Object.entries(contents)) await writeFile(join(mount, version, name), content);
  await symlink(version, join(mount, '..data_tmp'));
  await rename(join(mount, '..data_tmp'), join(mount, '..data'));
}

const limited = { timeout: 20_000 };

test("follows a mounted Secret through Kubernetes' swap of directories", limited, async context => {
  const { path, at, open, nextReport } = await directory(context);
  await swap(path, '..2026_1', { 'tls.crt': 'one crt', 'tls.key': 'one key' });
  await symlink('..data/tls.crt', at('tls.crt'));
  await symlink('..data/tls.key', at('tls.key'));
  const files = await open({ paths: [at('tls.crt'), at('tls.key')] });
  assert.equal(files.value, 'one');

  await swap(path, '..2026_2', { 'tls.crt': 'two crt', 'tls.key': 'two key' });
  assert.equal(await nextReport(), 'success');
  assert.equal(files.value, 'two');
});

test(
  'a pair that is half replaced keeps the old one, is reported once, and heals with the other half',
  limited,
  async context => {
    const { at, open, nextReport, looks, reports } = await directory(context);
    await writeFile(at('crt'), 'one crt');
    await writeFile(at('key'), 'one key');
    const files = await open({ paths: [at('crt'), at('key')] });

    await writeFile(at('crt'), 'two crt');
    assert.equal(await nextReport(), `failure: test files ${at('crt')} and ${at('key')}: 2 files that are no pair`);
    await looks();
    assert.equal(files.value, 'one');
    assert.equal(reports.length, 1);

    await writeFile(at('key'), 'two key');
    assert.equal(await nextReport(), 'success');
    assert.equal(files.value, 'two');
  },
);

test('each new content that cannot be used is reported once, also when its file is touched', limited, async context => {
  const { at, open, nextReport, looks, reports } = await directory(context);
  await writeFile(at('file'), 'good');
  const load = (content: Buffer): string => {
    if (content.includes('bad')) throw new Error(`the last letter is ${content.toString().slice(-1)}`);
    return content.toString();
  };
  const files = await open({ paths: [at('file')], load });

  // In one step: a look that is still under way would read what is half-written.
  const replace = async (content: string): Promise<void> => {
    await writeFile(at('new'), content);
    await rename(at('new'), at('file'));
  };
  await replace('bad a');
  assert.match(await nextReport(), /letter is a$/);
  await utimes(at('file'), 1, 1);
  await looks();
  await replace('bad b');
  assert.match(await nextReport(), /letter is b$/);
  await looks();
  await replace('good');
  assert.equal(await nextReport(), 'success');
  assert.equal(reports.length, 3);
  assert.equal(files.value, 'good');
});

test('sees a change that keeps size and time of modification', limited, async context => {
  const { at, open, nextReport } = await directory(context);
  await writeFile(at('file'), 'one');
  await utimes(at('file'), 1, 1);
  const files = await open({ paths: [at('file')] });
  await writeFile(at('file'), 'two');
  await utimes(at('file'), 1, 1);
  assert.equal(await nextReport(), 'success');
  assert.equal(files.value, 'two');
});

test('a file that vanishes keeps its value, is reported once, and may come back as it was', limited, async context => {
  const { at, open, nextReport, looks, reports } = await directory(context);
  await writeFile(at('file'), 'one');
  const files = await open({ paths: [at('file')] });
  await rename(at('file'), at('elsewhere'));
  assert.equal(await nextReport(), `failure: test files: ENOENT: no such file or directory, open '${at('file')}'`);
  await looks();
  assert.equal(files.value, 'one');
  await rename(at('elsewhere'), at('file'));
  assert.equal(await nextReport(), 'success');
  assert.equal(reports.length, 2);
});

test('a file that grows too long keeps its value', limited, async context => {
  const { at, open, nextReport } = await directory(context);
  await writeFile(at('file'), 'x'.repeat(10));
  const files = await open({ paths: [at('file')], maxBytes: 10 });
  await writeFile(at('file'), 'y'.repeat(11));
  assert.equal(await nextReport(), `failure: test files: ${at('file')} is longer than 10 bytes`);
  assert.equal(files.value, 'x'.repeat(10));
});

test('the first load fails with one line that names the file', limited, async context => {
  const { path, at, open } = await directory(context);
  const failing = async (file: string): Promise<string> => {
    const error: unknown = await open({ paths: [file], maxBytes: 100 }).then(
      () => assert.fail('it was loaded'),
      (cause: unknown) => cause,
    );
    return error instanceof Error ? error.message : assert.fail();
  };
  assert.equal(await failing(at('none')), `test files: ENOENT: no such file or directory, open '${at('none')}'`);
  assert.equal(await failing(path), `test files: ${path} is not a file`);
  await writeFile(at('long'), 'x'.repeat(101));
  assert.equal(await failing(at('long')), `test files: ${at('long')} is longer than 100 bytes`);
  execFileSync('mkfifo', [at('pipe')]); // nobody writes to it
  assert.equal(await failing(at('pipe')), `test files: ${at('pipe')} is not a file`);
});

test('what a parser says about a content stays out of the error', limited, async context => {
  const { at, open } = await directory(context);
  await writeFile(at('file'), 'the secret');
  const load = (content: Buffer): string => {
    throw new Error('line 1 is malformed', { cause: new Error(content.toString()) });
  };
  const error: unknown = await open({ paths: [at('file')], load }).catch((cause: unknown) => cause);
  assert.ok(error instanceof Error);
  assert.equal(error.message, `test files ${at('file')}: line 1 is malformed`);
  assert.doesNotMatch(inspect(error, { depth: Infinity, showHidden: true }), /secret/);
});

test('reloadNow reads again what has not changed, and reports it', limited, async context => {
  const { at, open, reports } = await directory(context);
  await writeFile(at('file'), 'one');
  const files = await open({ paths: [at('file')] });
  await files.reloadNow();
  assert.deepEqual(reports, ['success']);
  await rm(at('file'));
  await files.reloadNow();
  await files.reloadNow();
  assert.deepEqual(
    reports.map(report => report.slice(0, 7)),
    ['success', 'failure', 'failure'],
  );
});

test('loads never overlap, and one that is asked for meanwhile sees what is there then', limited, async context => {
  const { at, open, looks } = await directory(context);
  await writeFile(at('file'), 'one');
  let loading = 0;
  let mostAtOnce = 0;
  let gate = Promise.resolve();
  const loaded: string[] = [];
  const load = async (content: Buffer): Promise<string> => {
    mostAtOnce = Math.max(mostAtOnce, ++loading);
    await gate;
    loading -= 1;
    loaded.push(content.toString());
    return content.toString();
  };
  const files = await open({ paths: [at('file')], load });

  const { promise, resolve } = Promise.withResolvers<undefined>();
  gate = promise.then(() => undefined);
  await writeFile(at('file'), 'two');
  const first = files.reloadNow();
  while (loading === 0) await setImmediate();
  await writeFile(at('file'), 'three');
  const others = Array.from({ length: 10 }, async () => files.reloadNow());
  await looks(); // time for what would overlap
  resolve(undefined);
  await Promise.all([first, ...others]);
  assert.equal(files.value, 'three');
  assert.deepEqual(loaded, ['one', 'two', 'three']);
  assert.equal(mostAtOnce, 1);
});

test('once closed it looks and reports no more', limited, async context => {
  const { at, open, looks, reports } = await directory(context);
  await writeFile(at('file'), 'one');
  const files = await open({ paths: [at('file')] });
  files.close();
  await writeFile(at('file'), 'two');
  await looks();
  await files.reloadNow();
  assert.equal(files.value, 'one');
  assert.deepEqual(reports, []);
});

test('a bounded read takes as much as is allowed, of files that say no size too', async context => {
  const { path, remove } = await temporaryDirectory('watched');
  context.after(remove);
  await writeFile(join(path, 'empty'), '');
  await chmod(join(path, 'empty'), 0o400);
  assert.equal((await readBounded(join(path, 'empty'), 0)).length, 0);
  assert.ok((await readBounded('/proc/self/status', 100_000)).length > 0);
  await assert.rejects(readBounded('/proc/self/status', 10), { message: '/proc/self/status is longer than 10 bytes' });
});
