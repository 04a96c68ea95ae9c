import { readFileSync } from 'node:fs';

/**
 * One process of this host, told from a later one of the same pid by its start time (proc(5)).
 *
 * The Engine gives pids as its own pid namespace has them. They mean something here only where execlet shares that namespace
 * (on the host itself, or in a container with the host's pid namespace); the process's cgroup, which names the container, says
 * whether it does.
 */
export class HostProcess {
  readonly #pid: number;
  readonly #startTime: string;

  private constructor(pid: number, startTime: string) {
    this.#pid = pid;
    this.#startTime = startTime;
  }

  /** The process of that pid if it is seen here and belongs to the container; undefined where it has ended or is not ours. @throws where it cannot be read */
  static find(pid: number, containerId: string): HostProcess | undefined {
    const stat = readStat(pid);
    if (stat === undefined || stat.exited || !readProc(pid, 'cgroup')?.includes(containerId)) return undefined;
    return new HostProcess(pid, stat.startTime);
  }

  /** Whether it has ended; one that nobody has waited for yet has. A small read, some microseconds. @throws where it cannot be read */
  get exited(): boolean {
    const stat = readStat(this.#pid);
    return stat === undefined || stat.exited || stat.startTime !== this.#startTime;
  }
}

function readStat(pid: number): { exited: boolean; startTime: string } | undefined {
  const stat = readProc(pid, 'stat');
  if (stat === undefined) return undefined;
  // The second field is the program's name in parentheses and may hold anything; fields are counted from the third.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state = '', threads = '', startTime = ''] = [fields[0], fields[17], fields[19]];
  // A program's first thread may end before the others: that is a zombie with threads, and the program runs on.
  const exited = state === 'X' || (state === 'Z' && Number(threads) <= 1);
  return { exited, startTime };
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
