import { Session } from 'node:inspector/promises';
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

/** By the file's URL, a byte per character: 1 has run. */
export type Ran = ReadonlyMap<string, Uint8Array>;

/**
 * Which characters of some source files have run in this process, by V8's block coverage: a branch that has not been taken is a
 * range that has not run.
 */
export class Coverage {
  readonly #session = new Session();
  readonly #seen: Ran;

  private constructor(files: readonly string[]) {
    this.#seen = new Map(
      files.map(file => [pathToFileURL(file).href, new Uint8Array(readFileSync(file, 'utf8').length + 1)]),
    );
  }

  static async of(files: readonly string[]): Promise<Coverage> {
    const coverage = new Coverage(files);
    coverage.#session.connect();
    await coverage.#session.post('Profiler.enable');
    await coverage.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
    return coverage;
  }

  /** What has run since the last look. */
  async look(): Promise<Ran> {
    const { result } = await this.#session.post('Profiler.takePreciseCoverage');
    const ran = new Map<string, Uint8Array>();
    for (const { url, functions } of result) {
      const seen = this.#seen.get(url);
      if (seen === undefined) continue;
      const now = new Uint8Array(seen.length);
      // Outer functions and ranges come before those within them.
      for (const { ranges } of functions) {
        for (const { startOffset, endOffset, count } of ranges) now.fill(count > 0 ? 1 : 0, startOffset, endOffset);
      }
      ran.set(url, now);
    }
    return ran;
  }

  /** Whether some of it has never been added. */
  isNew(ran: Ran): boolean {
    return [...ran].some(([url, now]) => now.some((one, at) => one === 1 && this.#seen.get(url)?.[at] === 0));
  }

  add(ran: Ran): void {
    for (const [url, now] of ran) now.forEach((one, at) => one === 1 && this.#seen.get(url)?.fill(1, at, at + 1));
  }

  /** How many characters have run. */
  get size(): number {
    let sum = 0;
    for (const seen of this.#seen.values()) for (const ran of seen) sum += ran;
    return sum;
  }

  stop(): void {
    this.#session.disconnect();
  }
}
