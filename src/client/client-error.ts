/** Exit code for settings and command lines that cannot work, as of every execlet command. */
export const EXIT_USAGE = 2;

/**
 * A failure that the person at the terminal is told in one line. `exitCode` is the process's: 2 for settings, 1 for anything
 * else that went wrong on the way. An empty message is not printed.
 */
export class ClientError extends Error {
  override readonly name = 'ClientError';
  readonly exitCode: number;

  constructor(message: string, { exitCode = 1, cause }: { exitCode?: number; cause?: unknown } = {}) {
    super(message, { cause });
    this.exitCode = exitCode;
  }

  /** A setting (flag, environment or kubeconfig) that cannot work. */
  static usage(message: string, cause?: unknown): ClientError {
    return new ClientError(message, { exitCode: EXIT_USAGE, cause });
  }
}

/** Text of whatever was thrown, for the end of a message. Node's connection errors to several addresses have an empty one. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ');
  return error instanceof Error ? error.message : String(error);
}
