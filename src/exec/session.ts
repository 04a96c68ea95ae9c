import { ExecletError } from '../errors.ts';
import type { ExecOutcome, RemoteCommandConnection } from './connection.ts';
import { SessionEnded } from './end-reason.ts';
import type { ExecSpec } from './handler.ts';
import type { RegisteredContainer } from './handler-registry.ts';

/** One exec, from the accepted connection to its end. */
export interface Session {
  readonly container: RegisteredContainer;
  readonly spec: ExecSpec;
  readonly connection: RemoteCommandConnection;
  /** The session's own: client loss, the container's end, limits and shutdown all abort it with a SessionEnded. */
  readonly ending: AbortController;
}

/**
 * Runs the command and reports its outcome to the client, exactly once. Resolves when the connection is closed; never
 * rejects.
 */
export async function runSession(
  { container, spec, connection, ending }: Session,
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
    const { exitCode } = await container.handler.exec(spec, connection.streams, ending.signal);
    outcome = { kind: 'exited', exitCode };
  } catch (cause) {
    outcome = failure(cause);
  }
  // The container lives on without us, perhaps for months: nothing of this session may stay on its signal.
  gone.removeEventListener('abort', containerGone);
  onOutcome(outcome);
  await connection.finish(outcome);
  closed.removeEventListener('abort', clientLeft);
}

function failure(cause: unknown): ExecOutcome {
  if (cause instanceof SessionEnded) {
    return { kind: 'failed', reason: cause.endReason, error: new ExecletError('Internal', cause.message, { cause }) };
  }
  return { kind: 'failed', reason: 'engine_gone', error: ExecletError.from(cause) };
}
