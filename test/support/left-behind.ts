import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { listProcesses, type HostProcess } from './processes.ts';

const PATIENCE_MS = 30_000;

/** A command that its client leaves behind. Each of its processes carries the mark in its arguments. */
export interface LeftBehind {
  readonly what: string;
  readonly command: (mark: string) => readonly [string, ...string[]];
  /** How many of its processes sleep, once it is on its way; a shell may be among the others. */
  readonly sleeps: number;
}

const shell = (script: string): readonly [string, ...string[]] => ['sh', '-c', script];

/** Those of which nothing may stay. */
export const LEFT_BEHIND: readonly LeftBehind[] = [
  { what: 'a sleep', command: mark => ['sleep', mark], sleeps: 1 },
  {
    what: 'a shell with jobs in the background',
    command: mark => shell(`sleep ${mark} & sleep ${mark} & sleep ${mark}; true`),
    sleeps: 3,
  },
  {
    what: 'a process that ignores SIGHUP and SIGTERM',
    command: mark => shell(`trap '' HUP TERM; sleep ${mark}; true`),
    sleeps: 1,
  },
  {
    what: 'one that has forked twice, without setsid',
    command: mark => shell(`(sleep ${mark} & (sleep ${mark} &) ); sleep ${mark}; true`),
    sleeps: 3,
  },
];

/** One that makes a session of its own, which is out of reach: so much of it stays. */
export const SETSID: LeftBehind & { readonly stays: number } = {
  what: 'one that has called setsid',
  command: mark => shell(`setsid sleep ${mark} & sleep ${mark}; true`),
  sleeps: 2,
  stays: 1,
};

/** What no other process has in its arguments; as seconds it is a long time. */
export function newMark(): string {
  return String(randomInt(1e9, 2e9));
}

/** The processes that carry the mark, but for the kubectl that runs them, and the shell that becomes it at a terminal. */
async function marked(mark: string): Promise<HostProcess[]> {
  const all = await listProcesses();
  return all.filter(
    ({ argv }) => argv.some(word => word.includes(mark)) && !argv.some(word => /\bkubectl\b/.test(word)),
  );
}

/** Waits until there are so many processes with that mark, and answers them. */
export async function untilMarked(mark: string, count: number): Promise<HostProcess[]> {
  return untilFound(mark, count, () => true);
}

/** Waits until so many of them sleep: a shell forks first, and sleeps (or calls setsid) only then. */
export async function untilAsleep(mark: string, count: number): Promise<HostProcess[]> {
  return untilFound(mark, count, ({ argv }) => argv[0] === 'sleep');
}

/** /proc tells nobody, so it is asked again and again. */
async function untilFound(
  mark: string,
  count: number,
  counts: (process: HostProcess) => boolean,
): Promise<HostProcess[]> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = (await marked(mark)).filter(counts);
    if (found.length === count) return found;
    if (Date.now() > deadline) {
      throw new Error(`${found.length} processes instead of ${count}: ${JSON.stringify(found)}`);
    }
    await delay(20);
  }
}
