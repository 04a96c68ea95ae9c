import { z } from 'zod';
import type { Observed } from './observed.ts';
import type { SessionPlan } from './session-plan.ts';

/** How a session ended, for the summary. */
export type End = 'exit code' | 'failure' | 'engine fault' | 'refused' | 'client left' | 'error';

export interface Verdict {
  readonly end: End;
  /** Empty when all is as it must be. */
  readonly problems: readonly string[];
}

/** What the error stream says: an exit code, the message of a failure, or nothing that a client could read. */
type Outcome = { readonly exitCode: number } | { readonly failure: string } | { readonly unreadable: string };

const status = z.object({
  status: z.enum(['Success', 'Failure']),
  message: z.string().optional(),
  reason: z.string().optional(),
  details: z.object({ causes: z.array(z.object({ reason: z.string().optional(), message: z.string() })) }).optional(),
});
const EXIT_TEXT = /^command terminated with non-zero exit code: exit status (\d+)$/;
const START_FAILURE = 'error executing command in container: ';
/**
 * What the Engine did not do, and execlet told as the failure that it was: containerd's shim waits for one of the exec's pipes to be
 * opened, at most 10 s, and meanwhile starts nothing else in that container. Seen once in 90 000 sessions, with dockerd 20.10.
 */
const ENGINE_FAULT = /the Engine at \S+ does not answer|failed to start io pipe copy/;
/** A container that is stopped or restarted ends its commands with one of these signals. */
const INTERRUPTED = [128 + 9, 128 + 15];

/** Compares what a client saw with what must come of the plan. */
export function judge(plan: SessionPlan, observed: Observed): Verdict {
  const { expected } = plan;
  if (observed.left) return { end: 'client left', problems: [] };
  if (observed.refused !== undefined) return judgeRefusal(plan, observed.refused);
  const outcome = decodeOutcome(observed.errorStream, plan.protocol.json);
  const problems = [...observed.flaws];
  const asOffered = plan.offered[0] ?? '';
  if (observed.protocol !== asOffered) problems.push(`subprotocol ${observed.protocol}, offered ${asOffered}`);
  if ('unreadable' in outcome) return { end: 'error', problems: [...problems, describe(outcome)] };
  if ('failure' in outcome && ENGINE_FAULT.test(outcome.failure) && 'exitCode' in expected) {
    return { end: 'engine fault', problems: [...problems, ...compareInterrupted(outcome, expected, observed)] };
  }
  const end = 'exitCode' in outcome ? 'exit code' : 'failure';
  switch (expected.end) {
    case 'exit':
      return { end, problems: [...problems, ...compare(outcome, expected, observed)] };
    case 'exit or interruption':
      return { end, problems: [...problems, ...compareInterrupted(outcome, expected, observed)] };
    case 'start failure':
      if (!('failure' in outcome) || !(ENGINE_FAULT.test(outcome.failure) || outcome.failure.includes(START_FAILURE))) {
        problems.push(`a start failure is missing: ${describe(outcome)}`);
      }
      if (observed.stdout.bytes + observed.stderr.bytes > 0) problems.push('output of a command that never started');
      return { end, problems };
    case 'refusal':
      return { end, problems: [...problems, `not refused: ${describe(outcome)}`] };
    case 'nothing':
      return { end, problems: [...problems, `the client should have left, and got: ${describe(outcome)}`] };
  }
}

function judgeRefusal({ expected }: SessionPlan, httpStatus: number): Verdict {
  const wanted =
    expected.end === 'refusal' ? [expected.status] : expected.end === 'exit or interruption' ? [404, 409] : [];
  return { end: 'refused', problems: wanted.includes(httpStatus) ? [] : [`refused with ${httpStatus}`] };
}

interface Whole {
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

function compare(outcome: Outcome, expected: Whole, { stdout, stderr }: Observed): string[] {
  const problems: string[] = [];
  if (!('exitCode' in outcome) || outcome.exitCode !== expected.exitCode) {
    problems.push(`${describe(outcome)}, not exit code ${expected.exitCode}`);
  }
  for (const [name, received, wanted] of [
    ['stdout', stdout, expected.stdout],
    ['stderr', stderr, expected.stderr],
  ] as const) {
    if (received.is(wanted)) continue;
    const where =
      received.differsAt === undefined
        ? ''
        : `, different from byte ${received.differsAt} on, begins with ${JSON.stringify(received.beginning)}`;
    problems.push(`${name} has ${received.bytes} bytes, not ${wanted.length}${where}`);
  }
  return problems;
}

/** An end by the container's: what had arrived is right as far as it goes, and nothing claims that it is all. */
function compareInterrupted(outcome: Outcome, expected: Whole, observed: Observed): string[] {
  const interrupted = !('exitCode' in outcome) || INTERRUPTED.includes(outcome.exitCode);
  if (!interrupted) return compare(outcome, expected, observed);
  const { stdout, stderr } = observed;
  const problems: string[] = [];
  for (const [name, received, whole] of [
    ['stdout', stdout, expected.stdout],
    ['stderr', stderr, expected.stderr],
  ] as const) {
    if (received.is(whole.subarray(0, received.bytes))) continue;
    const begins = JSON.stringify(received.beginning);
    problems.push(
      `${describe(outcome)}, but ${name} before it is wrong: ${received.bytes} bytes, begins with ${begins}`,
    );
  }
  return problems;
}

function decodeOutcome(errorStream: string, json: boolean): Outcome {
  if (!json) {
    if (errorStream === '') return { exitCode: 0 };
    const [, code] = EXIT_TEXT.exec(errorStream) ?? [];
    return code === undefined ? { failure: errorStream } : { exitCode: Number(code) };
  }
  const parsed = status.safeParse(parseJson(errorStream));
  if (!parsed.success) return { unreadable: errorStream };
  if (parsed.data.status === 'Success') return { exitCode: 0 };
  const code = parsed.data.details?.causes.find(({ reason }) => reason === 'ExitCode')?.message;
  if (parsed.data.reason === 'NonZeroExitCode') {
    return code === undefined ? { unreadable: errorStream } : { exitCode: Number(code) };
  }
  return { failure: parsed.data.message ?? '' };
}

function describe(outcome: Outcome): string {
  if ('exitCode' in outcome) return `exit code ${outcome.exitCode}`;
  return 'failure' in outcome ? `failure "${outcome.failure}"` : `no Status but "${outcome.unreadable}"`;
}

/** Two Statuses behind one another are no JSON, and so no Status. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
