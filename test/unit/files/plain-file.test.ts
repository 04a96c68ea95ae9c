import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readPlainFile } from '../../../src/files/plain-file.ts';
import { mustRun } from '../../support/command.ts';

test('reads a file; what is no file is refused, and not waited for', async context => {
  const directory = await mkdtemp(join(tmpdir(), 'execlet-'));
  context.after(() => rm(directory, { recursive: true }));
  await writeFile(join(directory, 'file'), 'text\n');
  assert.equal(readPlainFile(join(directory, 'file')), 'text\n');
  await mustRun('mkfifo', [join(directory, 'pipe')]);
  for (const none of [join(directory, 'pipe'), '/dev/zero']) {
    assert.throws(() => readPlainFile(none), /^Error: it is no regular file$/);
  }
  assert.throws(() => readPlainFile(directory), { code: 'EISDIR' });
  assert.throws(() => readPlainFile(join(directory, 'none')), { code: 'ENOENT' });
});

test("a shell's process substitution is read, though it is a pipe", async () => {
  const script = `import { readPlainFile } from '${join(import.meta.dirname, '../../../src/files/plain-file.ts')}';`;
  const node = `'${process.execPath}' --input-type=module --eval "${script} process.stdout.write(readPlainFile(process.argv[1]))"`;
  assert.equal(await mustRun('bash', ['-c', `${node} <(echo through a pipe)`]), 'through a pipe\n');
});
