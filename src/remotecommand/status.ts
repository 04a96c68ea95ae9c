import type { ExecOutcome } from '../exec/connection.ts';
import type { StreamProtocol } from './protocol.ts';

/**
 * The bytes of the error stream for an outcome: one JSON Status from v4 on, before that text on failure and nothing on
 * success. The shapes are those of the kubelet's streaming server (Kubernetes 1.20 to 1.35, with `"metadata":{}`), which
 * every client decodes.
 *
 * A client that receives nothing reports success, so the caller must deliver what this returns or break the connection.
 */
export function encodeStatus(outcome: ExecOutcome, protocol: StreamProtocol): Buffer {
  const status = statusOf(outcome);
  if (protocol.statusAsJson) return Buffer.from(JSON.stringify(status));
  return Buffer.from(status.message ?? '');
}

interface Status {
  readonly metadata: Record<string, never>;
  readonly status: 'Success' | 'Failure';
  readonly message?: string;
  readonly reason?: string;
  readonly details?: { readonly causes: readonly { readonly reason?: string; readonly message: string }[] };
  readonly code?: number;
}

function statusOf(outcome: ExecOutcome): Status {
  if (outcome.kind === 'exited') {
    if (outcome.exitCode === 0) return { metadata: {}, status: 'Success' };
    const exitCode = String(outcome.exitCode);
    return {
      metadata: {},
      status: 'Failure',
      message: `command terminated with non-zero exit code: exit status ${exitCode}`,
      reason: 'NonZeroExitCode',
      details: { causes: [{ reason: 'ExitCode', message: exitCode }] },
    };
  }
  const timedOut = outcome.reason === 'idle' || outcome.reason === 'max_duration';
  const text =
    outcome.reason === 'start_failed'
      ? `error executing command in container: ${outcome.error.message}`
      : outcome.error.message;
  return {
    metadata: {},
    status: 'Failure',
    message: timedOut ? text : `Internal error occurred: ${text}`,
    reason: timedOut ? 'Timeout' : 'InternalError',
    details: { causes: [{ message: text }, { reason: 'ExecletReason', message: outcome.reason }] },
    code: timedOut ? 504 : 500,
  };
}
