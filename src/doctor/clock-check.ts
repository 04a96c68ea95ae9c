import { ok, problem, type Finding } from './check.ts';

/** A `Date` header has whole seconds, and nothing that reads a clock here minds a few. */
const TOLERANCE_MS = 5_000;

/** What time somebody else had, and what time it was here when they were asked and when they had answered. */
export interface OtherClock {
  readonly whose: string;
  readonly theirs: Date;
  readonly askedAt: Date;
  readonly answeredAt: Date;
}

/** Whether the clocks agree. How long the answer took is no difference. */
export function checkClock({ whose, theirs, askedAt, answeredAt }: OtherClock): Finding {
  const aheadMs = Math.max(askedAt.getTime() - theirs.getTime(), 0);
  const behindMs = Math.max(theirs.getTime() - answeredAt.getTime(), 0);
  if (Number.isNaN(aheadMs)) return problem(`${whose} does not tell the time: see what stands in front of it`);
  if (Math.max(aheadMs, behindMs) <= TOLERANCE_MS) return ok(`the clock here and that of ${whose} agree`);
  const seconds = Math.round(Math.max(aheadMs, behindMs) / 1_000);
  const difference = `the clock here is ${seconds} s ${aheadMs > 0 ? 'ahead of' : 'behind'} that of ${whose}`;
  return problem(`${difference}, and certificates, tokens and logs go by it: have both keep time (timedatectl status)`);
}
