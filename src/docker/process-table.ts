import { readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';

/** What proc(5) tells of one process. */
export interface ProcessStat {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  /** In clock ticks since boot: tells the process from a later one of the same pid. */
  readonly startTime: string;
  /** Whether nothing of it runs any more; it may wait for its parent to take notice. */
  readonly exited: boolean;
}

/** The processes that are seen from here, and how to signal them. */
export interface ProcessTable {
  pids(): Promise<readonly number[]>;
  /** Undefined where there is no such process. A small read, some microseconds. @throws where it cannot be read */
  stat(pid: number): ProcessStat | undefined;
  /** Whether the process's cgroup names the container; false where it has ended. @throws where it cannot be read */
  isIn(pid: number, containerId: string): boolean;
  /** 0 only asks whether it may be signalled. @throws {NodeJS.ErrnoException} ESRCH where it has ended, EPERM where it may not be */
  kill(pid: number, signal: NodeJS.Signals | 0): void;
  /** The same for all processes of a process group at once: none escapes by forking meanwhile. @throws as `kill` */
  killGroup(group: number, signal: NodeJS.Signals | 0): void;
}

/** Those of this host, or of this container where execlet does not share the host's pid namespace. */
export const HOST_PROCESSES: ProcessTable = {
  pids: async () => (await readdir('/proc')).filter(name => /^\d+$/.test(name)).map(Number),
  stat: readStat,
  isIn: (pid, containerId) => readProc(pid, 'cgroup')?.includes(containerId) ?? false,
  kill: (pid, signal) => void process.kill(pid, signal),
  killGroup: (group, signal) => {
    if (!(group > 1)) throw new RangeError(`${group} is no process group of a command`); // kill(2) takes 0 for ours, -1 for all
    process.kill(-group, signal);
  },
};

function readStat(pid: number): ProcessStat | undefined {
  const stat = readProc(pid, 'stat');
  if (stat === undefined) return undefined;
  // The second field is the program's name in parentheses and may hold anything; fields are counted from the third.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state = '', threads = '', startTime = ''] = [fields[0], fields[17], fields[19]];
  const [parent, group, session] = [Number(fields[1]), Number(fields[2]), Number(fields[3])];
  // A program's first thread may end before the others: that is a zombie with threads, and the program runs on.
  const exited = state === 'X' || (state === 'Z' && Number(threads) <= 1);
  return { pid, parent, group, session, startTime, exited };
}

function readProc(pid: number, file: 'stat' | 'cgroup'): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined; // ESRCH: it ended while it was read
    throw cause; // EMFILE, for one, says nothing about the process
  }
}
