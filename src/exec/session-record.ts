import type { Proof } from '../access/caller.ts';
import type { FailureCode } from '../errors.ts';
import type { CommandRedactor } from './redaction.ts';
import type { EndReason } from './end-reason.ts';

/** Who asked, and over what. */
export interface CallerFields {
  readonly user: string;
  readonly groups: readonly string[];
  readonly proof: Proof;
  /** The front proxy that vouched for the user. */
  readonly proxy?: string | undefined;
  readonly remoteAddress?: string | undefined;
  /** The API server's `Audit-ID`, where a trusted proxy sent it. */
  readonly auditId?: string | undefined;
  /** `X-Forwarded-For` as a trusted proxy sent it; what comes before the proxy's own client is anybody's word. */
  readonly forwardedFor?: string | undefined;
}

/** A session, the same at its start and at its end. */
export interface SessionFields extends CallerFields {
  readonly session: string;
  readonly namespace: string;
  readonly pod: string;
  readonly podUid?: string | undefined;
  readonly container: string;
  readonly containerId: string;
  readonly command: readonly string[];
  readonly tty: boolean;
  readonly transport: 'spdy' | 'websocket';
  readonly protocol: string;
}

/** How it ended. */
export interface SessionEndFields {
  /** Absent where it is unknown. */
  readonly exitCode?: number | undefined;
  readonly reason: EndReason;
  readonly stdinBytes: number;
  readonly stdoutBytes: number;
  readonly stderrBytes: number;
  readonly durationMs: number;
}

/** A request that was refused. Of the caller is told what was known by then. */
export interface RefusalFields extends Partial<CallerFields> {
  readonly method: string;
  /** A query is left out: it holds the command. */
  readonly path: string;
  readonly status: number;
  readonly code: FailureCode;
  readonly message: string;
}

/** The kinds of lines. serve's ready line on stdout has an `event` too. */
export type SessionLogEvent = 'session_started' | 'session_ended' | 'refused' | 'records_lost';

/** No line is longer, its end included: the sum of the bounds below is less. */
export const MAX_LINE_BYTES = 64 * 1024;
/** Of the command, as it stands in the line. */
const MAX_COMMAND_BYTES = 16 * 1024;
const MAX_GROUPS_BYTES = 8 * 1024;
const MAX_TEXT_BYTES = 1024;
/** Of a UTF-16 unit that is escaped. */
const MAX_UNIT_BYTES = 6;
const CUT_MARK = '…';

/** The line of a session that begins. */
export function startedLine(time: Date, fields: SessionFields, redactor: CommandRedactor): string {
  // A unit takes a byte at least: beyond the bound there is nothing that could be written.
  const { command, cut: longer, timedOut } = redactor.redact(fields.command, MAX_COMMAND_BYTES);
  const { list, truncated } = cutList(command, MAX_COMMAND_BYTES);
  return line('session_started', time, {
    ...sessionFields(fields),
    ...groupsOf(fields),
    command: list,
    ...((truncated || longer) && { commandTruncated: true }),
    ...(timedOut && { redactionTimedOut: true }),
  });
}

/** The line of a session that has ended. It stands for itself, except that groups and command are in the start's line only. */
export function endedLine(time: Date, fields: SessionFields & SessionEndFields): string {
  const { exitCode, reason, stdinBytes, stdoutBytes, stderrBytes, durationMs } = fields;
  return line('session_ended', time, {
    ...sessionFields(fields),
    exitCode,
    reason,
    stdinBytes,
    stdoutBytes,
    stderrBytes,
    durationMs,
  });
}

/** The line of a refusal. */
export function refusedLine(time: Date, fields: RefusalFields): string {
  const { method, path, status, code, message } = fields;
  const query = path.indexOf('?');
  return line('refused', time, {
    ...callerFields(fields),
    ...groupsOf(fields),
    method: cutText(method),
    path: cutText(query < 0 ? path : path.slice(0, query)),
    status,
    code,
    message: cutText(message),
  });
}

/** The line that tells how many are missing. */
export function lostLine(time: Date, count: number): string {
  return line('records_lost', time, { count });
}

function sessionFields(fields: SessionFields): Record<string, unknown> {
  const { session, namespace, pod, podUid, container, containerId, tty, transport, protocol } = fields;
  return {
    session: cutText(session),
    ...callerFields(fields),
    namespace: cutText(namespace),
    pod: cutText(pod),
    podUid: cutText(podUid),
    container: cutText(container),
    containerId: cutText(containerId),
    tty,
    transport,
    protocol: cutText(protocol),
  };
}

function callerFields({
  user,
  proof,
  proxy,
  remoteAddress,
  auditId,
  forwardedFor,
}: Partial<CallerFields>): Record<string, unknown> {
  return {
    user: cutText(user),
    proof,
    proxy: cutText(proxy),
    remoteAddress: cutText(remoteAddress),
    auditId: cutText(auditId),
    forwardedFor: cutText(forwardedFor),
  };
}

/** The groups, or as many of them as a record has room for. */
export function cutGroups(groups: readonly string[]): { list: string[]; truncated: boolean } {
  return cutList(groups, MAX_GROUPS_BYTES);
}

function groupsOf({ groups }: Partial<CallerFields>): Record<string, unknown> {
  if (groups === undefined) return {};
  const { list, truncated } = cutGroups(groups);
  return { groups: list, ...(truncated && { groupsTruncated: true }) };
}

function line(event: SessionLogEvent, time: Date, fields: Readonly<Record<string, unknown>>): string {
  return encode({ time: time.toISOString(), event, ...fields });
}

/**
 * JSON escapes the control characters below 0x20. The line is also read on terminals and in editors, so those above 0x7e are
 * escaped as well (some terminals take U+009B for the beginning of a command), what ends a line in JavaScript, and what turns the
 * direction of writing round.
 */
function encode(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function encodedBytes(text: string): number {
  return Buffer.byteLength(encode(text));
}

/** The text, or as much of it as a record has room for. */
export function cutText(text: string): string;
export function cutText(text: string | undefined): string | undefined;
export function cutText(text: string | undefined): string | undefined {
  return text === undefined ? undefined : cut(text.toWellFormed(), MAX_TEXT_BYTES);
}

/** The text, or as much of it as takes that many bytes in a line, with its quotes and a mark at its end. */
function cut(text: string, maxBytes: number): string {
  if (text.length * MAX_UNIT_BYTES + 2 <= maxBytes) return text; // with its quotes, whatever it holds
  if (text.length <= maxBytes && encodedBytes(text) <= maxBytes) return text;
  // Bisection: the encoding grows with the text, and by how much only the encoder knows. Half a character takes more bytes (its
  // escape) than the whole one, so the longest text that fits never ends in half of one.
  let fits = 0;
  let tooLong = Math.min(text.length, Math.max(maxBytes, 0)) + 1;
  while (tooLong - fits > 1) {
    const middle = (fits + tooLong) >>> 1;
    if (encodedBytes(text.slice(0, middle) + CUT_MARK) <= maxBytes) fits = middle;
    else tooLong = middle;
  }
  return text.slice(0, fits) + CUT_MARK;
}

function cutList(texts: readonly string[], maxBytes: number): { list: string[]; truncated: boolean } {
  const list: string[] = [];
  let left = maxBytes;
  for (const text of texts) {
    const whole = text.toWellFormed();
    const shown = cut(whole, left);
    const bytes = encodedBytes(shown);
    if (bytes > left) return { list, truncated: true };
    list.push(shown);
    if (shown !== whole) return { list, truncated: true };
    left -= bytes + 1; // and a comma
  }
  return { list, truncated: false };
}
