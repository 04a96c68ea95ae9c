import { spawn } from 'node:child_process';
import { createCipheriv, createHash } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContainer } from '../../test/support/containers.ts';
import { temporaryDirectory } from '../../test/support/cleanup.ts';

const FILE = 'soak-bytes';
/** The largest output, from the last place where one may begin. */
const BYTES = 32 * 1024 * 1024;

/** Where in every container the bytes are. */
export const SOURCE_PATH = `/${FILE}`;

/**
 * The bytes that every session's input and output is cut from, the same for the same seed. Each session takes them from another
 * place, so that what reaches the wrong session is as wrong as what is damaged.
 */
export function makeSourceBytes(seed: number): Buffer {
  const key = createHash('sha256').update(String(seed)).digest().subarray(0, 16);
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(BYTES));
}

/** Puts them into the containers as a file. */
export async function putSourceBytes(bytes: Buffer, containers: readonly TestContainer[]): Promise<void> {
  const directory = await temporaryDirectory('soak');
  try {
    await writeFile(join(directory.path, FILE), bytes);
    for (const container of containers) {
      const tar = spawn('tar', ['-c', '-C', directory.path, FILE], { stdio: ['ignore', 'pipe', 'inherit'] });
      const closed = once(tar, 'close');
      await container.docker.putArchive(tar.stdout, { path: '/' });
      await closed;
    }
  } finally {
    await directory.remove();
  }
}
