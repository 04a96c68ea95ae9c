import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { listProcesses, type HostProcess } from './processes.ts';

const PATIENCE_MS = 30_000;

/** A command that its client leaves behind. Each of its processes carries the mark in its arguments. */
export interface LeftBehind {
  readonly what: string;
  readonly command: (mark: string) => readonly [string, ...string[]];
  /** How many processes it is, once it is on its way. */
  readonly processes: number;
}

const shell = (script: string): readonly [string, ...string[]] => ['sh', '-c', script];

/** Those of which nothing may stay. */
export const LEFT_BEHIND: readonly LeftBehind[] = [
  { what: 'a sleep', command: mark => ['sleep', mark], processes: 1 },
  {
    what: 'a shell with jobs in the background',
    command: mark => shell(`sleep ${mark} & sleep ${mark} & sleep ${mark}; true`),
    processes: 4,
  },
  {
    what: 'a process that ignores SIGHUP and SIGTERM',
    command: mark => shell(`trap '' HUP TERM; sleep ${mark}; true`),
    processes: 2,
  },
  {
    what: 'one that has forked twice, without setsid',
    command: mark => shell(`(sleep ${mark} & (sleep ${mark} &) ); sleep ${mark}; true`),
    processes: 4,
  },
];

/** One that makes a session of its own, which is out of reach: so much of it stays. */
export const SETSID: LeftBehind & { readonly stays: number } = {
  what: 'one that has called setsid',
  command: mark => shell(`setsid sleep ${mark} & sleep ${mark}; true`),
  processes: 3,
  stays: 1,
};

/** What no other process has in its arguments; as seconds it is a long time. */
export function newMark(): string {
  return String(randomInt(1e9, 2e9));
}

/** The processes that carry the mark, but for the kubectl that runs them, and the shell that becomes it at a terminal. */
export async function marked(mark: string): Promise<HostProcess[]> {
  const all = await listProcesses();
  return all.filter(
    ({ argv }) => argv.some(word => word.includes(mark)) && !argv.some(word => /\bkubectl\b/.test(word)),
  );
}

/** Waits until there are so many processes with that mark, and answers them. /proc tells nobody, so it is asked again and again. */
export async function untilMarked(mark: string, count: number): Promise<HostProcess[]> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await marked(mark);
    if (found.length === count) return found;
    if (Date.now() > deadline) {
      throw new Error(`${found.length} processes instead of ${count}: ${JSON.stringify(found)}`);
    }
    await delay(20);
  }
}
