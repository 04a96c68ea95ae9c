import { HOST_PROCESSES } from './process-table.ts';

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
    const stat = HOST_PROCESSES.stat(pid);
    if (stat === undefined || stat.exited || !HOST_PROCESSES.isIn(pid, containerId)) return undefined;
    return new HostProcess(pid, stat.startTime);
  }

  /** Whether it has ended; one that nobody has waited for yet has. A small read, some microseconds. @throws where it cannot be read */
  get exited(): boolean {
    const stat = HOST_PROCESSES.stat(this.#pid);
    return stat === undefined || stat.exited || stat.startTime !== this.#startTime;
  }
}
