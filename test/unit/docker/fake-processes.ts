import type { ProcessStat, ProcessTable } from '../../../src/docker/process-table.ts';

/** A process of the fake table; `onSignal` decides what a signal does, which by default is to end it. */
export interface FakeProcess {
  readonly pid: number;
  readonly parent?: number;
  readonly group?: number;
  readonly session: number;
  readonly startTime?: string;
  readonly exited?: boolean;
  /** CONTAINER unless given. */
  readonly container?: string;
  /** It is another one at each look, so that no scan sees it. */
  readonly fleeting?: boolean;
  /** It may not be signalled. */
  readonly forbidden?: boolean;
  readonly onSignal?: (signal: NodeJS.Signals, table: FakeProcesses) => void;
}

/** The container of processes that name no other. */
export const CONTAINER = 'c'.repeat(64);

/** A process table whose processes do what a test says. */
export class FakeProcesses implements ProcessTable {
  readonly signalled: { pid: number; signal: NodeJS.Signals }[] = [];
  readonly groupsKilled: number[] = [];
  /** How many scans have been begun. */
  scans = 0;
  /** How many processes have been looked at, one way or the other. */
  looks = 0;
  /** Called when a scan has read the last process, before anything that it has seen is used. */
  afterScan: () => void = () => undefined;
  readonly #processes = new Map<number, FakeProcess>();
  #lastOfScan: number | undefined;

  constructor(processes: readonly FakeProcess[]) {
    for (const process of processes) this.put(process);
  }

  /** Starts a process, in the place of one that had its pid. */
  put(process: FakeProcess): void {
    this.#processes.set(process.pid, process);
  }

  end(pid: number): void {
    this.#processes.delete(pid);
  }

  has(pid: number): boolean {
    return this.#processes.has(pid);
  }

  get size(): number {
    return this.#processes.size;
  }

  pids(): Promise<readonly number[]> {
    this.scans += 1;
    const pids = [...this.#processes.values()].filter(({ fleeting }) => fleeting !== true).map(({ pid }) => pid);
    this.#lastOfScan = pids.at(-1);
    return Promise.resolve(pids);
  }

  stat(pid: number): ProcessStat | undefined {
    this.looks += 1;
    const process = this.#processes.get(pid);
    if (pid === this.#lastOfScan) {
      this.#lastOfScan = undefined;
      this.afterScan();
    }
    if (process === undefined) return undefined;
    const { parent = 1, group = process.session, session, startTime = `${pid}00`, exited = false } = process;
    return { pid, parent, group, session, startTime, exited };
  }

  isIn(pid: number, containerId: string): boolean {
    this.looks += 1;
    return (this.#processes.get(pid)?.container ?? CONTAINER) === containerId && this.has(pid);
  }

  kill(pid: number, signal: NodeJS.Signals | 0): void {
    const process = this.#processes.get(pid);
    if (process === undefined) throw errorOf('ESRCH');
    if (process.forbidden === true) throw errorOf('EPERM');
    if (signal === 0) return;
    if (process.onSignal === undefined) this.end(pid);
    else process.onSignal(signal, this);
    this.signalled.push({ pid, signal });
  }

  killGroup(group: number, signal: NodeJS.Signals | 0): void {
    const members = [...this.#processes.values()].filter(({ session, group: its = session }) => its === group);
    const allowed = members.filter(({ forbidden }) => forbidden !== true);
    if (allowed.length === 0) throw errorOf(members.length === 0 ? 'ESRCH' : 'EPERM');
    if (signal === 0) return;
    for (const member of allowed) {
      if (member.onSignal === undefined) this.end(member.pid);
      else member.onSignal(signal, this);
    }
    this.groupsKilled.push(group);
  }
}

function errorOf(code: string): Error {
  return Object.assign(new Error(`kill ${code}`), { code });
}
