import { ExecletError } from '../errors.ts';
import type { ExecOutcome, RemoteCommandConnection } from './connection.ts';
import { SessionEnded } from './end-reason.ts';
import type { ExecSpec } from './handler.ts';
import type { RegisteredContainer } from './handler-registry.ts';
import type { RelayedBytes } from './relayed-bytes.ts';
import { within } from '../within.ts';

/** Between what a command in it shows of its container's end and the Engine's word of it; tens of milliseconds as a rule. */
const CONTAINER_END_MS = 500;
const KILLED = 128 + 9;

/** One exec, from the accepted connection to its end. */
export interface Session {
  readonly container: RegisteredContainer;
  readonly spec: ExecSpec;
  readonly connection: RemoteCommandConnection;
  /** The session's own: client loss, the container's end, limits and shutdown all abort it with a SessionEnded. */
  readonly ending: AbortController;
  /** Counts what is relayed. */
  readonly bytes: RelayedBytes;
}

/**
 * Runs the command and reports its outcome to the client, exactly once. Resolves when the connection is closed; never
 * rejects.
 */
export async function runSession(
  { container, spec, connection, ending, bytes }: Session,
  onOutcome: (outcome: ExecOutcome) => void,
): Promise<void> {
  const { closed } = connection;
  const { gone } = container;
  const clientLeft = (): void => ending.abort(closed.reason);
  const containerGone = (): void => ending.abort(gone.reason);
  closed.addEventListener('abort', clientLeft, { once: true });
  gone.addEventListener('abort', containerGone, { once: true });
  if (closed.aborted) clientLeft();
  if (gone.aborted) containerGone();

  let outcome: ExecOutcome;
  try {
    const { exitCode } = await container.handler.exec(spec, bytes.counting(connection.streams), {
      id: '',
      signal: ending.signal,
      reached: () => undefined,
      keepUntil: () => undefined,
    });
    outcome = { kind: 'exited', exitCode };
  } catch (cause) {
    outcome = failure(cause);
  }
  if (looksLikeContainerEnd(outcome) && (await goneWithin(CONTAINER_END_MS, gone))) outcome = failure(gone.reason);
  // The container lives on without us, perhaps for months: nothing of this session may stay on its signal.
  gone.removeEventListener('abort', containerGone);
  onOutcome(outcome);
  await connection.finish(outcome);
  closed.removeEventListener('abort', clientLeft);
}

/**
 * A container that ends takes its commands with it, and the Engine tells of these first: as a death by SIGKILL, as an exec that
 * never started or that it does not know. Which of the two was heard first must not decide what the client is told.
 */
function looksLikeContainerEnd(outcome: ExecOutcome): boolean {
  return outcome.kind === 'exited' ? outcome.exitCode === KILLED : outcome.reason === 'engine_gone';
}

async function goneWithin(timeoutMs: number, gone: AbortSignal): Promise<boolean> {
  if (gone.aborted) return true;
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const heard = (): void => resolve(undefined);
  gone.addEventListener('abort', heard, { once: true });
  await within(timeoutMs, promise);
  gone.removeEventListener('abort', heard);
  return gone.aborted;
}

function failure(cause: unknown): ExecOutcome {
  if (cause instanceof SessionEnded) {
    return { kind: 'failed', reason: cause.endReason, error: new ExecletError('Internal', cause.message, { cause }) };
  }
  return { kind: 'failed', reason: 'engine_gone', error: ExecletError.from(cause) };
}
