import { playSession } from './play.ts';
import { protocolTitle, type SessionPlan } from './session-plan.ts';
import type { Findings, Mismatch } from './summary.ts';
import { judge, type End } from './verdict.ts';

/** Mismatches that are kept in full; a broken daemon would fill the memory with them. */
const MOST_KEPT = 20;

type Counts = Pick<
  Findings,
  'sessions' | 'byKind' | 'byProtocol' | 'byEnd' | 'bytesRelayed' | 'mismatches' | 'mismatched'
>;

/** Runs sessions and counts how they ended. */
export class Tally {
  readonly #seed: number;
  #sessions = 0;
  #bytesRelayed = 0;
  #mismatches = 0;
  readonly #mismatched: Mismatch[] = [];
  readonly #byKind: Record<string, number> = {};
  readonly #byProtocol: Record<string, number> = {};
  readonly #byEnd: Partial<Record<End, number>> = {};

  constructor(seed: number) {
    this.#seed = seed;
  }

  /** Plays one session and judges it; a mismatch is said at once, on stderr. Never rejects. */
  async run(plan: SessionPlan, port: number): Promise<void> {
    let end: End = 'error';
    let problems: readonly string[];
    try {
      const observed = await playSession(plan, port);
      ({ end, problems } = judge(plan, observed));
      this.#bytesRelayed += observed.stdout.bytes + observed.stderr.bytes + observed.sentBytes;
    } catch (cause) {
      problems = [cause instanceof Error ? cause.message : String(cause)];
    }
    const protocol = protocolTitle(plan.protocol);
    this.#sessions += 1;
    this.#byKind[plan.kind] = (this.#byKind[plan.kind] ?? 0) + 1;
    this.#byProtocol[protocol] = (this.#byProtocol[protocol] ?? 0) + 1;
    this.#byEnd[end] = (this.#byEnd[end] ?? 0) + 1;
    if (problems.length === 0) return;
    this.#mismatches += 1;
    if (this.#mismatched.length >= MOST_KEPT) return;
    this.#mismatched.push({ session: plan.number, kind: plan.kind, protocol, problems });
    process.stderr.write(
      `MISMATCH in session ${plan.number} of seed ${this.#seed}, ${plan.kind} over ${protocol}: ${problems.join('; ')}\n` +
        `  ${describePlan(plan)}\n`,
    );
  }

  counts(): Counts {
    return {
      sessions: this.#sessions,
      byKind: this.#byKind,
      byProtocol: this.#byProtocol,
      byEnd: this.#byEnd,
      bytesRelayed: this.#bytesRelayed,
      mismatches: this.#mismatches,
      mismatched: this.#mismatched,
    };
  }
}

/** One line of JSON, with lengths in place of the bytes themselves. */
function describePlan({ stdin, expected, ...plan }: SessionPlan): string {
  const expectedBytes =
    'stdout' in expected ? { stdout: expected.stdout.length, stderr: expected.stderr.length } : undefined;
  return JSON.stringify({
    ...plan,
    stdin: stdin && { ...stdin, bytes: stdin.bytes.length },
    expected: { ...expected, ...expectedBytes },
  });
}
