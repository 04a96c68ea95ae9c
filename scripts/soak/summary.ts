import { slopePerMinute, type Sample, type Usage } from './daemon-usage.ts';
import type { KeptExec } from './engine-execs.ts';
import type { End } from './verdict.ts';

/**
 * From this length on growing memory is a failure; before that it is what code compiled and caches filled take. It is judged by what is
 * in use: resident memory grows in steps of tens of MiB, since V8 makes its young generation larger as it sees more of the load, and
 * never smaller again.
 */
const MEMORY_JUDGED_FROM_MINUTES = 10;
/** The daemon runs about ten sessions a second here, so 1 KiB left behind by each would be 600 a minute. */
const MOST_USED_KIB_PER_MINUTE = 100;
const WARM_UP = 0.2;
/** Sessions that the Engine itself did not serve, of a thousand. */
const MOST_ENGINE_FAULTS = 1;

export interface Mismatch {
  readonly session: number;
  readonly kind: string;
  readonly protocol: string;
  readonly problems: readonly string[];
}

/** What a run has found, as it is printed with --json. */
export interface Findings {
  readonly seed: number;
  readonly minutes: number;
  readonly concurrency: number;
  readonly sessions: number;
  readonly byKind: Readonly<Record<string, number>>;
  readonly byProtocol: Readonly<Record<string, number>>;
  readonly byEnd: Readonly<Partial<Record<End, number>>>;
  readonly containerRestarts: number;
  /** Both ways, as the clients counted them. */
  readonly bytesRelayed: number;
  readonly mismatches: number;
  /** The first of them. */
  readonly mismatched: readonly Mismatch[];
  /** Of the daemon, a minute, after the warm-up of a fifth of the run. */
  readonly slopes: {
    readonly rssKib: number;
    readonly usedKib: number;
    readonly fds: number;
    readonly sockets: number;
    readonly timers: number;
  };
  /** More than before the first session, when all were over; execs those of the Engine, sessions those without an end in the log. */
  readonly leftBehind: {
    readonly fds: number;
    readonly sockets: number;
    readonly timers: number;
    readonly execs: number;
    readonly sessions: number;
  };
  /** Execs whose clients left while the Engine was creating them, by the daemon's log: the Engine has no call to remove one. */
  readonly neverStarted: number;
  /** The others that are left. */
  readonly keptExecs: readonly KeptExec[];
  readonly rssKib: { readonly before: number; readonly most: number; readonly after: number };
  readonly usedKib: { readonly before: number; readonly most: number; readonly after: number };
  /** What the daemon logged as an error of its own, or how it ended before it was told to. */
  readonly daemonErrors: readonly string[];
  /** Why the run has failed; empty when it has not. */
  readonly failures: readonly string[];
}

/** The slopes of the samples without those of the warm-up. */
export function slopesOf(samples: readonly Sample[], minutes: number): Findings['slopes'] {
  const warm = samples.filter(sample => sample.minutes >= minutes * WARM_UP);
  const slope = (value: (usage: Usage) => number): number => Math.round(slopePerMinute(warm, value) * 100) / 100;
  return {
    rssKib: slope(({ rssKib }) => rssKib),
    usedKib: slope(({ usedKib }) => usedKib),
    fds: slope(({ fds }) => fds),
    sockets: slope(({ sockets }) => sockets),
    timers: slope(({ timers }) => timers),
  };
}

/**
 * Everything for which the run counts as failed. The slopes of sockets and timers are not judged: they follow what happens to be
 * running, and what is left behind at the end tells of a leak exactly.
 */
export function failuresOf(findings: Omit<Findings, 'failures'>): string[] {
  const failures = [...findings.daemonErrors];
  if (findings.mismatches > 0) failures.push(`${findings.mismatches} sessions were not as they must be`);
  const engineFaults = findings.byEnd['engine fault'] ?? 0;
  if (engineFaults > Math.max(1, (findings.sessions / 1_000) * MOST_ENGINE_FAULTS)) {
    failures.push(`the Engine did not serve ${engineFaults} sessions, or execlet did not ask it as it should`);
  }
  // An exec whose start the Engine has not answered stays there: it has no call to remove one.
  const { execs, ...left } = findings.leftBehind;
  for (const [what, count] of Object.entries({ ...left, execs: execs - engineFaults })) {
    if (count > 0) failures.push(`${count} ${what} left behind`);
  }
  const judged = findings.minutes >= MEMORY_JUDGED_FROM_MINUTES;
  if (judged && findings.slopes.usedKib > MOST_USED_KIB_PER_MINUTE) {
    failures.push(`the daemon's memory grows by ${findings.slopes.usedKib} KiB a minute`);
  }
  return failures;
}

/** The table for a reader. */
export function describeFindings(findings: Findings): string {
  const { slopes, leftBehind, rssKib, usedKib, minutes } = findings;
  const counts = (of: Readonly<Record<string, number>>): string =>
    Object.entries(of)
      .map(([name, count]) => `${name} ${count}`)
      .join(', ');
  const judged =
    minutes >= MEMORY_JUDGED_FROM_MINUTES ? `at most ${MOST_USED_KIB_PER_MINUTE}` : 'too short a run to judge';
  const rows = [
    ['run', `${minutes.toFixed(1)} minutes, ${findings.concurrency} at a time, seed ${findings.seed}`],
    ['sessions', `${findings.sessions} (${counts(findings.byEnd)})`],
    ['by kind', counts(findings.byKind)],
    ['by protocol', counts(findings.byProtocol)],
    ['container restarts', String(findings.containerRestarts)],
    ['relayed', `${(findings.bytesRelayed / 1e6).toFixed(1)} MB`],
    ['mismatches', String(findings.mismatches)],
    ['RSS', `${rssKib.before} KiB before, ${rssKib.most} at most, ${rssKib.after} after`],
    ['RSS slope', `${slopes.rssKib} KiB/min`],
    ['memory in use', `${usedKib.before} KiB before, ${usedKib.most} at most, ${usedKib.after} after`],
    ['its slope', `${slopes.usedKib} KiB/min (${judged})`],
    ['slopes', `fds ${slopes.fds}/min, sockets ${slopes.sockets}/min, timers ${slopes.timers}/min`],
    ['left behind', counts(leftBehind)],
    ['never started', `${findings.neverStarted} execs whose client left while the Engine created them`],
    ...findings.keptExecs.map(({ id, running, command }) => [
      'exec kept',
      `${id.slice(0, 12)} ${running ? 'runs' : 'was never started'}: ${command}`,
    ]),
    ['failed because', findings.failures.length === 0 ? 'nothing: it passed' : findings.failures.join('; ')],
  ];
  return rows.map(([name = '', value = '']) => `${name.padEnd(20)}${value}`).join('\n');
}
