import type { EndReason } from './end-reason.ts';
import type { Session, SessionState } from './session.ts';
import { cutGroups, cutText, type CallerFields } from './session-record.ts';

/** Of what a client chose freely. */
const MAX_PROGRAM_CHARACTERS = 256;
/** V8 makes a part that is so short a string of its own. */
const MAX_COPIED_PART = 12;

/** A session as the API shows it. Of the command only its first word: arguments hold secrets, and whole commands are for the session log. */
export interface SessionView extends CallerFields {
  readonly id: string;
  readonly state: SessionState;
  readonly namespace: string;
  readonly pod: string;
  readonly podUid?: string | undefined;
  readonly container: string;
  readonly containerId: string;
  readonly program: string;
  readonly tty: boolean;
  readonly transport: 'spdy' | 'websocket';
  /** As it was negotiated; empty for a client that named none. */
  readonly protocol: string;
  /** RFC 3339, UTC. */
  readonly admittedAt: string;
  /** Since its admission; of a session whose outcome is known, until then. */
  readonly durationMs: number;
  /** Since the last byte of input or output; absent once the outcome is known. */
  readonly idleMs?: number;
  readonly stdinBytes: number;
  readonly stdoutBytes: number;
  readonly stderrBytes: number;
  /** Once the outcome is known. */
  readonly reason?: EndReason;
  readonly exitCode?: number | undefined;
}

/** What is known of a session at this moment; it does not change with the session. */
export function viewOf(session: Session): SessionView {
  const { fields, bytes, admittedAt, state, outcome } = session;
  const { command, user, groups, proxy, auditId, forwardedFor } = fields;
  return {
    id: fields.session,
    state,
    namespace: fields.namespace,
    pod: fields.pod,
    podUid: fields.podUid,
    container: fields.container,
    containerId: fields.containerId,
    tty: fields.tty,
    transport: fields.transport,
    protocol: fields.protocol,
    proof: fields.proof,
    remoteAddress: fields.remoteAddress,
    // What clients and proxies chose may be 1 MiB long.
    user: copyOf(cutText(user)),
    groups: cutGroups(groups).list.map(copyOf),
    ...(proxy !== undefined && { proxy: copyOf(cutText(proxy)) }),
    ...(auditId !== undefined && { auditId: copyOf(cutText(auditId)) }),
    ...(forwardedFor !== undefined && { forwardedFor: copyOf(cutText(forwardedFor)) }),
    program: copyOf((command[0] ?? '').slice(0, MAX_PROGRAM_CHARACTERS)),
    admittedAt: admittedAt.toISOString(),
    ...(outcome ?? {
      durationMs: Date.now() - admittedAt.getTime(),
      idleMs: Math.round(performance.now() - bytes.lastAt),
      stdinBytes: bytes.stdin,
      stdoutBytes: bytes.stdout,
      stderrBytes: bytes.stderr,
    }),
  };
}

/** A part of a string keeps the whole in memory, here perhaps a request line, for as long as the session is remembered. */
function copyOf(text: string): string {
  if (text.length <= MAX_COPIED_PART) return text;
  return Buffer.from(text).toString();
}
