import { GOAWAY_STATUS, RST_STATUS } from './frame.ts';

/**
 * The peer broke the protocol or a limit of ours.
 *
 * `scope` says how much of the connection is lost and thereby what `status` is: `stream` costs one stream, which is
 * answered with RST_STREAM; `connection` leaves nothing that could still be understood and is answered with GOAWAY.
 */
export class SpdyError extends Error {
  override readonly name = 'SpdyError';
  readonly scope: 'stream' | 'connection';
  readonly status: number;

  constructor(scope: 'stream' | 'connection', message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.scope = scope;
    this.status = scope === 'stream' ? RST_STATUS.PROTOCOL_ERROR : GOAWAY_STATUS.PROTOCOL_ERROR;
  }
}
