import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

const QUIET_MS = 500;

/** What the process keeps in memory now, in bytes. */
export async function residentBytes(pid: number): Promise<number> {
  return statusBytes(pid, 'VmRSS');
}

/** The most that the process has kept in memory since its start, or since `forgetPeak`, in bytes. */
export async function peakResidentBytes(pid: number): Promise<number> {
  return statusBytes(pid, 'VmHWM');
}

/** From now on the peak is counted afresh (proc(5), clear_refs). */
export async function forgetPeak(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, '5');
}

/**
 * Waits until the process has begun to read something, and then reads nothing any more: whoever takes what it relays is full.
 * Answers how much it has read in that time.
 */
export async function untilQuiet(pid: number): Promise<number> {
  const start = await bytesRead(pid);
  let last = start;
  for (let quietMs = 0; quietMs < QUIET_MS; quietMs += 100) {
    await delay(100);
    const now = await bytesRead(pid);
    if (now - last > 10_000 || now - start < 100_000) quietMs = 0; // pings and events go on
    last = now;
  }
  return last - start;
}

async function bytesRead(pid: number): Promise<number> {
  return Number(/^rchar: (\d+)$/m.exec(await readFile(`/proc/${pid}/io`, 'utf8'))?.[1]);
}

async function statusBytes(pid: number, field: 'VmRSS' | 'VmHWM'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) * 1024;
}
