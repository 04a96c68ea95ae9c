import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Node } from './nodes.ts';

const EVERY_MS = 5_000;
const WITHIN_MS = 3_000;
const MISSES = 3;

/**
 * Ends the sessions of a node whose host is not there any more.
 *
 * TCP keepalive finds that for connections on which nothing is under way. But kubectl sends a ping every 5 s, and what has been sent
 * and not acknowledged is only sent again, for a quarter of an hour. So each node with sessions is dialled now and then. To be
 * dialled takes no more than a kernel: a node that is merely busy loses nothing.
 */
export class LostNodes {
  readonly #sessions = new Map<Node, Set<Socket>>();

  /** Destroys the connection when its node is lost. */
  watch(node: Node, connection: Socket): void {
    const sessions = this.#sessions.get(node) ?? new Set();
    sessions.add(connection);
    connection.once('close', () => sessions.delete(connection));
    if (this.#sessions.has(node)) return;
    this.#sessions.set(node, sessions);
    void this.#dial(node, sessions);
  }

  /** Until the node has no sessions. */
  async #dial(node: Node, sessions: ReadonlySet<Socket>): Promise<void> {
    for (let missed = 0; sessions.size > 0;) {
      await delay(EVERY_MS, undefined, { ref: false });
      missed = (await isThere(node)) ? 0 : missed + 1;
      if (missed >= MISSES) for (const session of sessions) session.destroy();
    }
    this.#sessions.delete(node);
  }
}

/** A refusal is an answer: the host is there, and its kernel closes what its daemon had open. */
async function isThere({ url }: Node): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 443) });
    const done = (there: boolean) => (): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(there);
    };
    const timer = setTimeout(done(false), WITHIN_MS);
    socket.once('connect', done(true));
    socket.on('error', ({ code }: NodeJS.ErrnoException) => done(code === 'ECONNREFUSED')());
  });
}
