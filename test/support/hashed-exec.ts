import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { TestContainer } from './containers.ts';
import type { Kubectl } from './kubectl.ts';

const CHUNK_BYTES = 256 * 1024;

/** Bytes that are never all in memory. */
export interface Hashed {
  readonly bytes: number;
  readonly sha256: string;
}

/** How somebody reads. */
export interface Pace {
  /** As fast as it comes unless given. */
  readonly bytesPerSecond?: number;
  /** For so long nothing is read at all. */
  readonly pauseMs?: number;
}

export interface HashedExec {
  readonly exitCode: number | null;
  readonly stdout: Hashed;
  readonly stderr: string;
  /** What was sent as stdin. */
  readonly stdin: Hashed;
}

/** Runs a kubectl to its end, with so many random bytes as its stdin, and reads its stdout at that pace. */
export async function runHashed(
  client: Kubectl,
  args: readonly string[],
  { stdinBytes = 0, ...pace }: Pace & { stdinBytes?: number } = {},
): Promise<HashedExec> {
  const child = client.spawn(args);
  const closed = once(child, 'close');
  const [stdin, stdout, stderr] = await Promise.all([
    sendRandom(child.stdin, stdinBytes),
    readHashed(child.stdout, pace),
    text(child.stderr),
  ]);
  await closed;
  return { exitCode: child.exitCode, stdin, stdout, stderr };
}

/** A file of random bytes in a container. */
export class RandomFile {
  readonly path: string;
  readonly #container: TestContainer;
  readonly #hashes = new Map<number, Promise<Hashed>>();

  private constructor(container: TestContainer, path: string) {
    this.#container = container;
    this.path = path;
  }

  static async make(container: TestContainer, bytes: number): Promise<RandomFile> {
    const path = '/tmp/random';
    await container.exec(['sh', '-c', `head -c ${bytes} /dev/urandom > ${path}`]);
    return new RandomFile(container, path);
  }

  /** What it begins with; hashed in the container, once for each number of bytes. */
  async start(bytes: number): Promise<Hashed> {
    const known = this.#hashes.get(bytes) ?? hashOfStart(this.#container, this.path, bytes);
    this.#hashes.set(bytes, known);
    return known;
  }
}

/** What a file in the container begins with. */
export async function hashOfStart(container: TestContainer, file: string, bytes: number): Promise<Hashed> {
  const { stdout } = await container.exec(['sh', '-c', `head -c ${bytes} ${file} | sha256sum`]);
  return { bytes, sha256: sha256Of(stdout) };
}

/** The hash that `sha256sum` has printed. */
export function sha256Of(stdout: string): string {
  return stdout.split(' ')[0] ?? '';
}

async function sendRandom(sink: Writable, bytes: number): Promise<Hashed> {
  const hash = createHash('sha256');
  const chunks = function* (): Generator<Buffer> {
    for (let left = bytes; left > 0; left -= CHUNK_BYTES) {
      const chunk = randomBytes(Math.min(left, CHUNK_BYTES));
      hash.update(chunk);
      yield chunk;
    }
  };
  await pipeline(chunks, sink).catch(() => undefined); // it ended before its input: its exit code tells more
  return { bytes, sha256: hash.digest('hex') };
}

async function readHashed(source: Readable, { bytesPerSecond = Infinity, pauseMs = 0 }: Pace): Promise<Hashed> {
  const hash = createHash('sha256');
  let bytes = 0;
  await delay(pauseMs);
  const start = performance.now();
  for await (const chunk of source as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
    const early = (bytes / bytesPerSecond) * 1000 - (performance.now() - start);
    if (early > 0) await delay(early);
  }
  return { bytes, sha256: hash.digest('hex') };
}
