import { once } from 'node:events';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { CHECKOUT } from '../../test/support/checkout.ts';

/** What the daemon holds at one moment. */
export interface Usage {
  readonly rssKib: number;
  /** What the JavaScript of the daemon can still reach, its buffers included. */
  readonly usedKib: number;
  readonly fds: number;
  readonly sockets: number;
  /** Those that do not keep the process alive too. */
  readonly timers: number;
}

export interface Sample extends Usage {
  /** Since the start of the run. */
  readonly minutes: number;
}

/** Together more than the 6 s below. */
const QUIET_READINGS = 14;
const QUIET_INTERVAL_MS = 500;

const report = z.object({ timers: z.int(), usedBytes: z.int() });

/** The environment that makes a daemon answer at `socketPath` (test/support/resource-report.ts). */
export function reportingEnv(socketPath: string): Record<string, string> {
  const module = join(CHECKOUT, 'test', 'support', 'resource-report.ts');
  return { EXECLET_TEST_RESOURCE_REPORT: socketPath, NODE_OPTIONS: `--expose-gc --import=${module}` };
}

/**
 * File descriptors and sockets, and resident memory, as the kernel counts them; timers and the memory in use as the daemon does, when
 * its garbage has been collected.
 */
export async function readUsage(pid: number, socketPath: string): Promise<Usage> {
  const names = await readdir(`/proc/${pid}/fd`); // before the question, whose connection would be counted
  const targets = await Promise.all(names.map(name => readlink(`/proc/${pid}/fd/${name}`).catch(() => ''))); // closed meanwhile
  const socket = connect(socketPath);
  const { timers, usedBytes } = report.parse(await json(socket));
  socket.destroy();
  if (!socket.closed) await once(socket, 'close');
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return {
    rssKib: Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]),
    usedKib: Math.round(usedBytes / 1024),
    fds: names.length,
    sockets: targets.filter(target => target.startsWith('socket:')).length,
    timers,
  };
}

/**
 * The most, or the least, of readings over some seconds. An idle daemon asks the Engine every 6 s whether it is there, over a
 * connection that it then keeps for 5 s: what belongs to rest is the most that is seen of it before, and the least after.
 */
export async function readQuietUsage(pid: number, socketPath: string, of: 'most' | 'least'): Promise<Usage> {
  const extreme = of === 'most' ? Math.max : Math.min;
  let usage = await readUsage(pid, socketPath);
  for (let reading = 0; reading < QUIET_READINGS; reading += 1) {
    await delay(QUIET_INTERVAL_MS);
    const next = await readUsage(pid, socketPath);
    usage = {
      rssKib: next.rssKib,
      usedKib: extreme(usage.usedKib, next.usedKib),
      fds: extreme(usage.fds, next.fds),
      sockets: extreme(usage.sockets, next.sockets),
      timers: extreme(usage.timers, next.timers),
    };
  }
  return usage;
}

/** The slope of the straight line that fits the points best (least squares); 0 where there are too few for one. */
export function slopePerMinute<At extends { readonly minutes: number }>(
  samples: readonly At[],
  value: (sample: At) => number,
): number {
  const count = samples.length;
  const meanOf = (of: (sample: At) => number): number => samples.reduce((sum, sample) => sum + of(sample), 0) / count;
  const meanMinutes = meanOf(({ minutes }) => minutes);
  const meanValue = meanOf(value);
  const spread = meanOf(({ minutes }) => (minutes - meanMinutes) ** 2);
  if (count < 2 || spread === 0) return 0;
  return meanOf(sample => (sample.minutes - meanMinutes) * (value(sample) - meanValue)) / spread;
}
