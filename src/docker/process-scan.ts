import { setImmediate as turn } from 'node:timers/promises';
import type { ProcessStat, ProcessTable } from './process-table.ts';

/** So many processes are read before others have their turn: about a millisecond. */
const SLICE = 64;

/** All processes as one scan of the table has seen them. Processes come and go meanwhile, so none of this is true for long. */
export class ProcessSnapshot {
  readonly #byPid: ReadonlyMap<number, ProcessStat>;
  readonly #bySession: ReadonlyMap<number, readonly ProcessStat[]>;
  readonly #byGroup: ReadonlyMap<number, readonly ProcessStat[]>;
  readonly #byParent: ReadonlyMap<number, readonly ProcessStat[]>;

  constructor(processes: readonly ProcessStat[]) {
    this.#byPid = new Map(processes.map(process => [process.pid, process]));
    this.#bySession = Map.groupBy(processes, ({ session }) => session);
    this.#byGroup = Map.groupBy(processes, ({ group }) => group);
    this.#byParent = Map.groupBy(processes, ({ parent }) => parent);
  }

  /** The process of that pid, and those of the session and of the group that it leads or has led. */
  ledBy(pid: number): ProcessStat[] {
    const leader = this.#byPid.get(pid);
    const led = [...(this.#bySession.get(pid) ?? []), ...(this.#byGroup.get(pid) ?? [])];
    return [...new Set(leader === undefined ? led : [leader, ...led])];
  }

  /** Everything that descends from one of these processes, they themselves left out. */
  descendantsOf(processes: readonly ProcessStat[]): ProcessStat[] {
    const family = new Set(processes);
    // Iteration also visits what is added on the way.
    for (const { pid } of family) for (const child of this.#byParent.get(pid) ?? []) family.add(child);
    return [...family].slice(new Set(processes).size);
  }
}

/**
 * Scans a process table, for any number of askers.
 *
 * Whoever asks gets a scan that has begun after that, since what was forked in between counts. Those who ask while one is under way
 * share the next.
 */
export class ProcessScanner {
  readonly #table: ProcessTable;
  #underWay: Promise<unknown> = Promise.resolve();
  #next: Promise<ProcessSnapshot> | undefined;

  constructor(table: ProcessTable) {
    this.#table = table;
  }

  /** Rejects where the table cannot be read. */
  scan(): Promise<ProcessSnapshot> {
    this.#next ??= this.#scanAfter(this.#underWay);
    return this.#next;
  }

  async #scanAfter(previous: Promise<unknown>): Promise<ProcessSnapshot> {
    await Promise.allSettled([previous]);
    await turn(); // what ends in one turn shares one scan
    this.#underWay = this.#next ?? previous;
    this.#next = undefined;
    const processes: ProcessStat[] = [];
    for (const [index, pid] of (await this.#table.pids()).entries()) {
      if (index % SLICE === SLICE - 1) await turn();
      const process = this.#table.stat(pid);
      if (process !== undefined) processes.push(process);
    }
    return new ProcessSnapshot(processes);
  }
}
