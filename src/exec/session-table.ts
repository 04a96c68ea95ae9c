import { ExecletError } from '../errors.ts';
import { humanDuration } from '../human-duration.ts';
import { within } from '../within.ts';
import type { ContainerEnd } from './container-end.ts';
import { SessionEnded } from './end-reason.ts';
import type { RegisteredContainer } from './handler-registry.ts';
import type { RelayedBytes } from './relayed-bytes.ts';
import { Session, type SessionLimits, type SetupPhase } from './session.ts';
import type { SessionFields } from './session-record.ts';
import { viewOf, type SessionView } from './session-view.ts';

/** Of the sessions that have ended. */
const MAX_REMEMBERED = 256;

/** How many sessions there may be; undefined is no limit. */
export interface AdmissionLimits {
  readonly maxSessions: number;
  readonly maxSessionsPerContainer: number;
  readonly maxSessionsPerCaller: number | undefined;
  /** A second. */
  readonly maxSessionRatePerContainer: number | undefined;
}

export interface SessionTableOptions {
  readonly admission: AdmissionLimits;
  readonly limits: SessionLimits;
  readonly onPhase: (phase: SetupPhase, ms: number) => void;
  /** Nothing is left of a session; one that was refused after all never was. */
  readonly onEnded: (session: Session) => void;
}

/** What may still begin in a container at a time. */
interface Allowance {
  sessions: number;
  /** When it was counted, by `performance.now()`. */
  at: number;
}

/** The sessions of the daemon: which may begin, which there are, what became of the last ones. */
export class SessionTable {
  readonly #options: SessionTableOptions;
  readonly #live = new Map<string, Session>();
  /** Of the live ones, by container and by user: each admission asks for both. */
  readonly #inContainer = new Tally();
  readonly #ofCaller = new Tally();
  /** The newest last. */
  readonly #ended: SessionView[] = [];
  /** By the container's end, which is its own for as long as it runs. */
  readonly #allowances = new WeakMap<ContainerEnd, Allowance>();
  /** Of those that are over. */
  readonly #relayedBytes = { input: 0, output: 0 };
  #draining = false;
  #empty = Promise.withResolvers<undefined>();

  constructor(options: SessionTableOptions) {
    this.#options = options;
  }

  /** How many there are. */
  get size(): number {
    return this.#live.size;
  }

  /** Those that are not over, the oldest first. */
  get live(): Iterable<Session> {
    return this.#live.values();
  }

  /** What all sessions have relayed so far, those that are over too. */
  relayedBytes(): { input: number; output: number } {
    const sum = { ...this.#relayedBytes };
    for (const { bytes } of this.#live.values()) addBytes(sum, bytes);
    return sum;
  }

  /**
   * Takes a session in. Whoever calls this ends it: by running it, or by withdrawing it.
   *
   * @throws {ExecletError} TooManySessions, which names the limit; RuntimeUnavailable once the daemon is stopping
   */
  admit(fields: SessionFields, container: RegisteredContainer): Session {
    if (this.#draining) throw new ExecletError('RuntimeUnavailable', 'the daemon is stopping');
    this.#checkLimits(fields);
    this.#takeAllowance(container);
    const { limits, onPhase } = this.#options;
    const session = new Session({ fields, limits, onPhase, onOver: () => this.#forget(session) });
    this.#live.set(session.id, session);
    this.#inContainer.add(fields.containerId, 1);
    this.#ofCaller.add(fields.user, 1);
    return session;
  }

  /** Every session that is known: those that are not over, the newest first, then the last ones that ended, the latest end first. */
  list(): SessionView[] {
    return [...[...this.#live.values()].reverse().map(viewOf), ...this.#ended.toReversed()];
  }

  find(id: string): SessionView | undefined {
    const session = this.#live.get(id);
    return session === undefined ? this.#ended.find(view => view.id === id) : viewOf(session);
  }

  /**
   * Ends a session for an administrator. One whose command has ended and whose client is slow to take the rest is cut off.
   *
   * @throws {ExecletError} HandlerNotFound for one that nobody knows, SessionOver for one that has ended
   */
  end(id: string, by: string): SessionView {
    const session = this.#live.get(id);
    if (session === undefined) {
      const ended = this.find(id);
      if (ended === undefined) throw new ExecletError('HandlerNotFound', `session ${id} not found`);
      throw new ExecletError('SessionOver', `session ${id} has already ended: ${ended.reason ?? 'unknown'}`);
    }
    session.end(new SessionEnded('admin', `the session was ended by ${by}`));
    session.abandonDelivery();
    return viewOf(session);
  }

  /**
   * For the daemon's stop: admits nobody any more, and resolves when every session has ended by itself, or has been ended after
   * `timeoutMs` and told so, for which the clients have `deliveryMs`. Answers how many have not taken it by then. What sessions have
   * left in their containers may still be being ended: see `whenEmpty`.
   */
  async drain({ timeoutMs, deliveryMs }: { timeoutMs: number; deliveryMs: number }): Promise<number> {
    this.#draining = true;
    for (const session of this.#live.values()) {
      session.tell(`execlet is stopping on this node: this session ends in ${humanDuration(timeoutMs)}`);
    }
    if (await within(timeoutMs, this.whenEmpty())) return 0;
    const reason = new SessionEnded('drain', 'execlet is stopping');
    for (const session of this.#live.values()) session.end(reason);
    const untold = new Set(this.#live.values());
    const told = [...untold].map(session => session.delivered.then(() => untold.delete(session)));
    await within(deliveryMs, Promise.all(told));
    return untold.size;
  }

  /** Resolves when there is none. */
  async whenEmpty(): Promise<void> {
    while (this.#live.size > 0) await this.#empty.promise;
  }

  #checkLimits({ user, containerId }: SessionFields): void {
    const { maxSessions, maxSessionsPerContainer, maxSessionsPerCaller } = this.#options.admission;
    if (this.#live.size >= maxSessions) throw tooMany(`${maxSessions} run on this node`, '--max-sessions');
    if (this.#inContainer.of(containerId) >= maxSessionsPerContainer) {
      throw tooMany(`${maxSessionsPerContainer} run in this container`, '--max-sessions-per-container');
    }
    if (maxSessionsPerCaller !== undefined && this.#ofCaller.of(user) >= maxSessionsPerCaller) {
      throw tooMany(`"${user}" has ${maxSessionsPerCaller}`, '--max-sessions-per-caller');
    }
  }

  /** At most so many a second, and as many at once as one second allows, but one at least. */
  #takeAllowance({ gone }: RegisteredContainer): void {
    const { maxSessionRatePerContainer: rate } = this.#options.admission;
    if (rate === undefined) return;
    const now = performance.now();
    const most = Math.max(1, rate);
    const before = this.#allowances.get(gone) ?? { sessions: most, at: now };
    const sessions = Math.min(most, before.sessions + ((now - before.at) / 1_000) * rate);
    if (sessions < 1) {
      throw new ExecletError(
        'TooManySessions',
        `too many sessions: ${rate} a second may begin in this container (--max-session-rate-per-container)`,
        { retryAfterSeconds: Math.ceil((1 - sessions) / rate) },
      );
    }
    this.#allowances.set(gone, { sessions: sessions - 1, at: now });
  }

  #forget(session: Session): void {
    this.#live.delete(session.id);
    this.#inContainer.add(session.fields.containerId, -1);
    this.#ofCaller.add(session.fields.user, -1);
    if (session.outcome !== undefined) {
      addBytes(this.#relayedBytes, session.bytes);
      this.#options.onEnded(session);
      this.#ended.push(viewOf(session));
      if (this.#ended.length > MAX_REMEMBERED) this.#ended.shift();
    }
    if (this.#live.size > 0) return;
    this.#empty.resolve(undefined);
    this.#empty = Promise.withResolvers();
  }
}

/** How many there are of each; of most there are none. */
class Tally {
  readonly #counts = new Map<string, number>();

  of(key: string): number {
    return this.#counts.get(key) ?? 0;
  }

  add(key: string, change: 1 | -1): void {
    const count = this.of(key) + change;
    if (count === 0) this.#counts.delete(key);
    else this.#counts.set(key, count);
  }
}

function addBytes(sum: { input: number; output: number }, { stdin, stdout, stderr }: RelayedBytes): void {
  sum.input += stdin;
  sum.output += stdout + stderr;
}

function tooMany(what: string, flag: string): ExecletError {
  return new ExecletError('TooManySessions', `too many sessions: ${what}, and ${flag} allows no more`);
}
