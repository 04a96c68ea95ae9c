import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** A process of this host, as /proc shows it. */
export interface HostProcess {
  readonly pid: number;
  readonly parentPid: number;
  /** In clock ticks since boot: tells a process from a later one of the same pid. */
  readonly startTime: string;
  readonly argv: readonly string[];
}

/** Every process that can be read now; zombies are left out, since there is nothing left of them to end. */
export async function listProcesses(): Promise<HostProcess[]> {
  const names = await readdir('/proc');
  const found = await Promise.all(names.filter(name => /^\d+$/.test(name)).map(name => readProcess(Number(name))));
  return found.filter(process => process !== undefined);
}

/** The process, or undefined when it is gone (or a zombie). */
export async function readProcess(pid: number): Promise<HostProcess | undefined> {
  try {
    const [stat, cmdline] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile(`/proc/${pid}/cmdline`, 'utf8'),
    ]);
    // proc(5): pid (comm) state ppid …; starttime is field 22. comm may itself hold spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z') return undefined;
    return { pid, parentPid: Number(fields[1]), startTime: fields[19] ?? '', argv: cmdline.split('\0').slice(0, -1) };
  } catch {
    return undefined; // It ended while we looked.
  }
}

/** The given processes and everything that descends from them. */
export function withDescendants(roots: readonly HostProcess[], all: readonly HostProcess[]): HostProcess[] {
  const family = new Map(roots.map(root => [root.pid, root]));
  // Map iteration also visits what is added on the way.
  for (const { pid } of family.values()) {
    for (const child of all) if (child.parentPid === pid) family.set(child.pid, child);
  }
  return [...family.values()];
}

/** True while that very process runs. */
export async function isRunning({ pid, startTime }: Pick<HostProcess, 'pid' | 'startTime'>): Promise<boolean> {
  return (await readProcess(pid))?.startTime === startTime;
}

/** Kills the processes and waits until they are gone. */
export async function killProcesses(processes: readonly HostProcess[]): Promise<void> {
  for (const process of processes) if (await isRunning(process)) sendSignal(process.pid, 'SIGKILL');
  for (const process of processes) await thaw(process);
  for (const process of processes) await untilGone(process);
}

/** A process of a paused container does not even die under control groups of version 1; those of version 2 know better. */
async function thaw({ pid }: HostProcess): Promise<void> {
  const cgroups = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '');
  const [, path = '/'] = /^\d+:freezer:(.*)$/m.exec(cgroups) ?? [];
  if (path === '/') return;
  await writeFile(join('/sys/fs/cgroup/freezer', path, 'freezer.state'), 'THAWED').catch(() => undefined); // it ended
}

/** Waits until the process has ended. /proc tells nobody when that is, so it is asked again and again. */
export async function untilGone(process: HostProcess, timeoutMs = 10_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (await isRunning(process)) {
    if (Date.now() > deadline) throw new Error(`process ${process.pid} (${process.argv.join(' ')}) does not end`);
    await delay(5);
  }
}

/** Sends the signal; a process that has gone meanwhile is as good. */
export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause && cause.code === 'ESRCH')) throw cause;
  }
}
