import { readUnanswered, type TcpConnection } from './tcp-table.ts';
import { TcpSilence } from './tcp-silence.ts';

/** A connection whose client is silent. */
export interface SilentConnection {
  readonly tcp: TcpConnection;
  /** Called at most once: TCP packets to the client's host get no answer. */
  readonly onVanished: () => void;
}

/**
 * Finds silent clients whose host has vanished, where pings cannot tell them from those that do not read.
 *
 * TCP itself gives up after about 15 minutes, and Node cannot set TCP_USER_TIMEOUT, which would shorten that. So the kernel's
 * tables are looked at, once an interval for all connections together and only while one of them is silent. Where there are no
 * such tables, TCP alone decides.
 */
export class VanishedHosts {
  readonly #intervalMs: number;
  readonly #silences = new Map<SilentConnection, TcpSilence>();
  #timer: NodeJS.Timeout | undefined;
  #looking = false;

  constructor({ intervalMs }: { intervalMs: number }) {
    this.#intervalMs = intervalMs;
  }

  /** Looks at the connection from now on; idempotent. */
  watch(connection: SilentConnection): void {
    if (this.#silences.has(connection)) return;
    this.#silences.set(connection, new TcpSilence());
    this.#timer ??= setInterval(() => void this.#look(), this.#intervalMs).unref();
  }

  /** To be called when the client has been heard, and at the connection's end. */
  forget(connection: SilentConnection): void {
    this.#silences.delete(connection);
    if (this.#silences.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  async #look(): Promise<void> {
    if (this.#looking) return; // the tables are long, or the machine is busy
    this.#looking = true;
    for (const table of ['/proc/net/tcp', '/proc/net/tcp6'] as const) {
      const looked = [...this.#silences].filter(([{ tcp }]) => tcp.table === table);
      if (looked.length === 0) continue;
      const wanted = new Set(looked.map(([{ tcp }]) => tcp.ends));
      const unanswered = await readUnanswered(table, wanted).catch(() => new Map<string, number>());
      for (const [connection, silence] of looked) {
        if (!silence.look(unanswered.get(connection.tcp.ends)) || !this.#silences.has(connection)) continue;
        this.forget(connection);
        connection.onVanished();
      }
    }
    this.#looking = false;
  }
}
