/**
 * The failure codes and what each becomes on the wire: an HTTP status before the upgrade, a Kubernetes Status reason on
 * both sides of it.
 */
const FAILURES = {
  BadExecRequest: { httpStatus: 400, statusReason: 'BadRequest' },
  Unauthenticated: { httpStatus: 401, statusReason: 'Unauthorized' },
  NotAllowed: { httpStatus: 403, statusReason: 'Forbidden' },
  NoCommonProtocol: { httpStatus: 403, statusReason: 'Forbidden' },
  HandlerNotFound: { httpStatus: 404, statusReason: 'NotFound' },
  MethodNotAllowed: { httpStatus: 405, statusReason: 'MethodNotAllowed' },
  ContainerNotRunning: { httpStatus: 409, statusReason: 'Conflict' },
  SessionOver: { httpStatus: 409, statusReason: 'Conflict' },
  TooManySessions: { httpStatus: 429, statusReason: 'TooManyRequests' },
  Internal: { httpStatus: 500, statusReason: 'InternalError' },
  NotImplemented: { httpStatus: 501, statusReason: 'NotImplemented' },
  RuntimeUnavailable: { httpStatus: 503, statusReason: 'ServiceUnavailable' },
  StreamsNotCreated: { httpStatus: 504, statusReason: 'Timeout' },
} as const;

export type FailureCode = keyof typeof FAILURES;

/** A failure that a caller may be told about. `message` is written for the person at the other end; `cause` is for the log. */
export class ExecletError extends Error {
  override readonly name = 'ExecletError';
  readonly code: FailureCode;
  /** When to ask again, where that is known. */
  readonly retryAfterSeconds: number | undefined;

  constructor(code: FailureCode, message: string, options?: { cause?: unknown; retryAfterSeconds?: number }) {
    super(message, options);
    this.code = code;
    this.retryAfterSeconds = options?.retryAfterSeconds;
  }

  /** The HTTP status that answers this failure before the upgrade. */
  get httpStatus(): number {
    return FAILURES[this.code].httpStatus;
  }

  /** `reason` of the Kubernetes Status. */
  get statusReason(): string {
    return FAILURES[this.code].statusReason;
  }

  /** An ExecletError as it is; anything else as `Internal` with its message, kept as `cause`. */
  static from(cause: unknown): ExecletError {
    if (cause instanceof ExecletError) return cause;
    return new ExecletError('Internal', cause instanceof Error ? cause.message : String(cause), { cause });
  }
}
