import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { temporaryDirectory } from '../support/cleanup.ts';
import { oneKubectlPerTransport } from '../support/one-kubectl-per-transport.ts';
import { serveWeb } from '../support/served.ts';

const FILE_BYTES = 100_000_000;
const FILES = 1_000;

const clients = await oneKubectlPerTransport();

const served = serveWeb();
const { path: directory } = await temporaryDirectory('cp');

for (const { kubectl, transport } of clients) {
  describe(`${kubectl.name} cp over ${transport}`, () => {
    async function copy(from: string, to: string): Promise<void> {
      const before = served.daemon.sessionsEnded().length;
      const client = await kubectl.against({ server: served.daemon.url, transport });
      const { exitCode, stderr } = await client.run(['cp', from, to], { timeoutMs: 300_000 });
      assert.equal(exitCode, 0, stderr);
      await served.daemon.waitForSessionsEnded(before + 1);
      for (const session of served.daemon.sessionsEnded().slice(before)) assert.equal(session.transport, transport);
    }

    test('a 100 MB random file arrives whole, into the container and out of it', async () => {
      const original = join(directory, `big-${transport}`);
      const hash = await writeRandomFile(original);
      await copy(original, `web:/tmp/big-${transport}`);
      const { stdout } = await served.web.exec(['sha256sum', `/tmp/big-${transport}`]);
      assert.equal(stdout.split(' ')[0], hash);
      const back = `${original}-back`;
      await copy(`web:/tmp/big-${transport}`, back);
      assert.equal(await hashOfFile(back), hash);
    });

    test('a directory of 1 000 files arrives whole, into the container and out of it', async () => {
      const original = join(directory, `many-${transport}`);
      await mkdir(original);
      for (let index = 0; index < FILES; index += 1)
        await writeFile(join(original, `file-${index}`), randomBytes(index));
      const hashes = await hashesOf(original);
      await copy(original, `web:/tmp/many-${transport}`);
      const back = `${original}-back`;
      await copy(`web:/tmp/many-${transport}`, back);
      assert.equal(hashes.length, FILES);
      assert.deepEqual(await hashesOf(back), hashes);
    });
  });
}

/** Writes 100 MB of random bytes and answers their SHA-256. */
async function writeRandomFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  const file = await open(path, 'w');
  for (let left = FILE_BYTES; left > 0;) {
    const chunk = randomBytes(Math.min(left, 1_000_000));
    hash.update(chunk);
    await file.write(chunk);
    left -= chunk.length;
  }
  await file.close();
  return hash.digest('hex');
}

async function hashOfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

async function hashesOf(path: string): Promise<string[]> {
  const names = (await readdir(path)).sort();
  return Promise.all(
    names.map(
      async name =>
        `${name} ${createHash('sha256')
          .update(await readFile(join(path, name)))
          .digest('hex')}`,
    ),
  );
}
