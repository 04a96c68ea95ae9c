/** Why a session ended: the closed set that the log, the metrics and the Status use. */
export type EndReason =
  | 'exit'
  | 'client_gone'
  | 'idle'
  | 'max_duration'
  | 'admin'
  | 'drain'
  | 'container_gone'
  | 'engine_gone'
  | 'output_lost'
  | 'protocol_error'
  | 'start_failed';

/** The reason that a session's AbortSignal carries: it is being ended, and `message` tells the client why. */
export class SessionEnded extends Error {
  override readonly name = 'SessionEnded';
  readonly endReason: Exclude<EndReason, 'exit'>;

  constructor(endReason: Exclude<EndReason, 'exit'>, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.endReason = endReason;
  }
}

/** One for all: nearly every session's connection ends with it, and each error that is made looks at the stack. */
export const CLIENT_CLOSED = new SessionEnded('client_gone', 'the client closed the connection');
