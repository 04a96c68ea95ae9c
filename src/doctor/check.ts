/** What came of a check. Only a `problem` keeps something from working; `not checked` says why it could not be told. */
export type CheckResult = 'ok' | 'note' | 'problem' | 'not checked';

/** What a check has found, in one line: what is there, and what to do about it where that is needed. Nothing secret. */
export interface Finding {
  readonly result: CheckResult;
  readonly text: string;
}

/** A finding, and which check it is of. */
export interface Check extends Finding {
  readonly check: string;
}

/** Whatever a check waits for, it has been told by then. */
const DEADLINE_MS = 30_000;

/** Runs a check under a deadline. Never rejects: what it throws is a finding too. */
export async function check(
  name: string,
  run: () => Promise<readonly Finding[]>,
  deadlineMs = DEADLINE_MS,
): Promise<readonly Check[]> {
  const { promise: late, resolve } = Promise.withResolvers<readonly Finding[]>();
  const text = `${name}: not done within ${deadlineMs / 1_000} s: see what it waits for, such as a disk or a mount that hangs`;
  const timer = setTimeout(() => resolve([problem(text)]), deadlineMs);
  try {
    return named(name, await Promise.race([run(), late]));
  } catch (cause) {
    return named(name, [problem(`${name}: ${messageOf(cause)}`)]);
  } finally {
    clearTimeout(timer);
  }
}

/** Findings as those of a check, each in one line. What others say in it, such as whoever listens on the port, steers no terminal. */
export function named(name: string, findings: readonly Finding[]): readonly Check[] {
  return findings.map(({ result, text }) => ({ check: name, result, text: oneLine(text) }));
}

function oneLine(text: string): string {
  return text.replaceAll(/\s*[\r\n\t]+\s*/g, ' ').replaceAll(/\p{Cc}/gu, '?');
}

export function ok(text: string): Finding {
  return { result: 'ok', text };
}

export function note(text: string): Finding {
  return { result: 'note', text };
}

export function problem(text: string): Finding {
  return { result: 'problem', text };
}

export function notChecked(text: string): Finding {
  return { result: 'not checked', text };
}

/** Text of whatever was thrown. */
export function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** `1 rule`, `2 rules`. */
export function counted(count: number, thing: string): string {
  return `${count} ${thing}${count === 1 ? '' : 's'}`;
}
