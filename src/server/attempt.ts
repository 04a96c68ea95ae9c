import type { IncomingMessage } from 'node:http';
import type { Caller } from '../access/caller.ts';
import type { RejectionStage } from '../metrics.ts';
import type { ExecRequest } from './exec-request.ts';

/** A request on its way through the checks: what is known of it so far, for the record of its refusal or its session. */
export class Attempt {
  readonly incoming: IncomingMessage;
  /** Without the query. */
  readonly pathname: string;
  /** A socket that has been closed does not know any more. */
  readonly remoteAddress: string | undefined;
  stage: RejectionStage;
  caller: Caller | undefined;
  request: ExecRequest | undefined;

  constructor(incoming: IncomingMessage, stage: RejectionStage = 'authenticate') {
    this.stage = stage;
    this.incoming = incoming;
    this.pathname = pathOf(incoming);
    this.remoteAddress = incoming.socket.remoteAddress;
  }
}

/** The path as it was sent. A request target that is no path, such as a proxy's absolute form, names nothing here. */
export function pathOf({ url = '' }: IncomingMessage): string {
  const mark = url.indexOf('?');
  return mark < 0 ? url : url.slice(0, mark);
}
