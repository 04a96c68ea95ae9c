import type { Caller } from '../access/caller.ts';
import type { ExecletError } from '../errors.ts';
import type { SessionLog } from '../exec/session-log.ts';
import type { CallerFields } from '../exec/session-record.ts';
import type { Logger } from '../log.ts';
import type { RejectionStage } from '../metrics.ts';
import type { Attempt } from './attempt.ts';

/** Of what a stranger sent; a request line may be 1 MiB. */
const MAX_LOGGED_CHARACTERS = 256;

/** What a record says of the caller; what a proxy in front says of its client counts from a trusted one only. */
export function callerFields({ incoming, remoteAddress, request }: Attempt, caller: Caller): CallerFields {
  const { name: user, groups, proof, proxy } = caller;
  const fromProxy = proof === 'front_proxy' && {
    auditId: request?.auditId ?? incoming.headersDistinct['audit-id']?.[0],
    forwardedFor: incoming.headersDistinct['x-forwarded-for']?.join(', '),
  };
  return { user, groups, proof, proxy, remoteAddress, ...fromProxy };
}

export interface RefusalsOptions {
  readonly log: Logger;
  readonly sessionLog: SessionLog | undefined;
  readonly rejected: (stage: RejectionStage, httpStatus: number) => void;
}

/** Where every refusal before an upgrade is written down. */
export class Refusals {
  readonly #options: RefusalsOptions;

  constructor(options: RefusalsOptions) {
    this.#options = options;
  }

  record(attempt: Attempt, error: ExecletError): void {
    const { log, sessionLog, rejected } = this.#options;
    const { stage, pathname, caller, incoming, remoteAddress } = attempt;
    const { httpStatus: status, code, message } = error;
    rejected(stage, status);
    sessionLog?.refused({
      ...(caller === undefined ? { remoteAddress } : callerFields(attempt, caller)),
      method: incoming.method ?? '',
      path: pathname,
      status,
      code,
      message,
    });
    log.info('request refused', {
      stage,
      path: pathname.slice(0, MAX_LOGGED_CHARACTERS),
      ...(caller && { user: caller.name.slice(0, MAX_LOGGED_CHARACTERS) }),
      status,
      code,
      error: message.slice(0, MAX_LOGGED_CHARACTERS),
    });
  }
}
