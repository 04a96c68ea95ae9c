import type { ExecOutcome, ExecStreams, RemoteCommandConnection } from '../../src/exec/connection.ts';
import type { SessionFields } from '../../src/exec/session-record.ts';
import { fakeContainer } from './fake-registry.ts';

/** A session of alice's in `fakeContainer('default', 'web', 'app')`. */
export function fakeFields(session: string, fields: Partial<SessionFields> = {}): SessionFields {
  const { ref, podUid, containerId } = fakeContainer('default', 'web', 'app');
  return {
    session,
    user: 'alice',
    groups: ['dev'],
    proof: 'token_file',
    remoteAddress: '192.0.2.1',
    ...ref,
    podUid,
    containerId,
    command: ['cat', '/etc/motd'],
    tty: false,
    transport: 'websocket',
    protocol: 'v5.channel.k8s.io',
    ...fields,
  };
}

/** A client that keeps what it is sent and closes when it has been told the outcome. */
export class FakeConnection implements RemoteCommandConnection {
  readonly transport = 'websocket';
  readonly protocol = 'v5.channel.k8s.io';
  readonly streams: ExecStreams;
  readonly closed: AbortSignal;
  readonly #leaving = new AbortController();
  readonly #destroyed = Promise.withResolvers<undefined>();
  readonly #slow: boolean;
  stdout = '';
  outcome: ExecOutcome | undefined;

  /** `slow`: it takes nothing of the end, so that it can only be cut off. */
  constructor({ slow = false }: { slow?: boolean } = {}) {
    this.#slow = slow;
    this.closed = this.#leaving.signal;
    this.streams = {
      stdout: {
        write: chunk => {
          this.stdout += chunk.toString();
          return true;
        },
      },
      started: () => undefined,
      onDrain: () => undefined,
    };
  }

  /** The peer goes, for that reason. */
  leave(reason: Error): void {
    this.#leaving.abort(reason);
  }

  async finish(outcome: ExecOutcome): Promise<void> {
    this.outcome = outcome;
    if (this.#slow) await this.#destroyed.promise;
  }

  destroy(): void {
    this.#destroyed.resolve(undefined);
  }
}
