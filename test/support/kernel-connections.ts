import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

const ESTABLISHED = '01';
const TIMERS = ['none', 'retransmission', 'keepalive', 'time wait', 'closed window'] as const;
const ROW = /^ *\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:([0-9A-F]{4}) ([0-9A-F]{2}) \S+ 0(\d):([0-9A-F]{8}) /;
/** The table counts hundredths of a second, whatever the kernel itself counts. */
const TICK_MS = 10;

/** An established connection of TCP as the kernel sees it. */
export interface KernelConnection {
  readonly localPort: number;
  readonly remotePort: number;
  /** What it waits for: without anything else to do, until the peer has been silent for long enough to be probed. */
  readonly timer: (typeof TIMERS)[number];
  /** Until then. */
  readonly timerMs: number;
}

/** The IPv4 connections on the process's host. */
export async function kernelConnections(pid: number): Promise<KernelConnection[]> {
  const table = await readFile(`/proc/${pid}/net/tcp`, 'utf8');
  return table.split('\n').flatMap(row => {
    const [, localPort = '', remotePort = '', state, timer, ticks = ''] = ROW.exec(row) ?? [];
    if (state !== ESTABLISHED) return [];
    const connection = { localPort: parseInt(localPort, 16), remotePort: parseInt(remotePort, 16) };
    return [{ ...connection, timer: TIMERS[Number(timer)] ?? 'none', timerMs: parseInt(ticks, 16) * TICK_MS }];
  });
}

/** Waits until the process's host has connections that satisfy the condition; the kernel tells nobody. */
export async function untilConnections(
  pid: number,
  condition: (connections: readonly KernelConnection[]) => boolean,
  timeoutMs = 30_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const connections = await kernelConnections(pid);
    if (condition(connections)) return;
    if (Date.now() > deadline) throw new Error(`not the connections expected: ${JSON.stringify(connections)}`);
    await delay(100);
  }
}
