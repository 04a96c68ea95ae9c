import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { SessionEnded } from '../exec/end-reason.ts';
import type { ConnectionLimits } from './accept.ts';
import { KeepaliveRule, MISSED_PINGS } from './keepalive-rule.ts';
import { SILENT_INTERVALS } from './tcp-silence.ts';
import { tcpConnectionOf } from './tcp-table.ts';
import type { SilentConnection } from './vanished-hosts.ts';

export interface KeepaliveOptions {
  /** The one below the transport, after the upgrade. */
  readonly socket: Duplex;
  readonly limits: Pick<ConnectionLimits, 'keepaliveIntervalMs' | 'onKeepalive' | 'vanishedHosts'>;
  /** Sends a ping whose answer will tell the number; false where none can be sent any more. */
  readonly sendPing: (ping: number) => boolean;
  /** Called at most once, with why the session is to end. */
  readonly onGone: (reason: SessionEnded) => void;
}

/** Pings the client of one connection, and finds out when it is gone although the connection never says so. */
export class Keepalive {
  readonly #options: KeepaliveOptions;
  readonly #rule = new KeepaliveRule();
  /** While the kernel is asked about the connection. */
  #silent: SilentConnection | undefined;
  #timer: NodeJS.Timeout | undefined;
  #bytesRead = 0;
  #stopped = false;
  /** Those who wait for the answer to that ping. */
  #waiting: readonly { readonly ping: number; readonly resolve: (value: undefined) => void }[] = [];

  constructor(options: KeepaliveOptions) {
    this.#options = options;
  }

  /** From now on the client is pinged, until `stop`. */
  start(): void {
    if (this.#stopped) return;
    this.#timer = setInterval(() => this.#tick(), this.#options.limits.keepaliveIntervalMs).unref();
  }

  /** To be called at the connection's end. Whoever waits for an answer waits no longer. */
  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
    this.#heard();
    this.#release(Infinity);
  }

  /** To be called with all that is written for the client's reader: output and status, not answers to its frames. */
  outputWritten(): void {
    this.#rule.outputWritten();
  }

  /** The client has answered that ping. A number that is none of ours is ignored. */
  answered(ping: number): void {
    if (this.#rule.answered(ping)) this.#release(ping);
  }

  /** Resolves when the client has read all that was written before, or `stop` is called. */
  allRead(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const ping = this.#rule.nextPing;
    if (this.#stopped || !this.#ping()) resolve(undefined);
    else this.#waiting = [...this.#waiting, { ping, resolve }];
    return promise;
  }

  #tick(): void {
    const { socket, limits } = this.#options;
    const bytesRead = socket instanceof Socket ? socket.bytesRead : 0;
    const heard = bytesRead !== this.#bytesRead;
    this.#bytesRead = bytesRead;
    const blocked = socket.writableLength > 0;
    const { liveness, result } = this.#rule.tick({ heard, paused: socket.isPaused(), blocked });
    if (result !== undefined) limits.onKeepalive(result);
    if (liveness === 'gone') {
      this.#end(`the client has not answered for ${this.#seconds(MISSED_PINGS)}`);
      return;
    }
    if (liveness === 'unknown') this.#watchHost();
    else this.#heard();
    // Behind output that the kernel has not even taken a ping says nothing, and hours of them would pile up in memory.
    if (!blocked) this.#ping();
  }

  #ping(): boolean {
    const sent = this.#options.sendPing(this.#rule.nextPing);
    if (sent) this.#rule.pingSent();
    return sent;
  }

  /** Whoever waits for that ping or one before it waits no longer. */
  #release(upTo: number): void {
    for (const { ping, resolve } of this.#waiting) if (ping <= upTo) resolve(undefined);
    this.#waiting = this.#waiting.filter(({ ping }) => ping > upTo);
  }

  /** Nothing that was heard says that the client's host is there: the kernel may know. */
  #watchHost(): void {
    const { socket, limits } = this.#options;
    if (this.#silent !== undefined || !(socket instanceof Socket)) return;
    const tcp = tcpConnectionOf(socket);
    this.#silent = tcp && { tcp, onVanished: () => this.#vanished() };
    if (this.#silent !== undefined) limits.vanishedHosts.watch(this.#silent);
  }

  #heard(): void {
    if (this.#silent !== undefined) this.#options.limits.vanishedHosts.forget(this.#silent);
    this.#silent = undefined;
  }

  #vanished(): void {
    this.#options.limits.onKeepalive('ended');
    this.#end(`the client's host has not answered for ${this.#seconds(SILENT_INTERVALS)}`);
  }

  #end(why: string): void {
    this.stop();
    this.#options.onGone(new SessionEnded('client_gone', why));
  }

  #seconds(intervals: number): string {
    return `${(intervals * this.#options.limits.keepaliveIntervalMs) / 1_000} s`;
  }
}
