import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/**
 * Keeps apart what comes on one connection. Clients that pipeline requests are rare, and so are those that offer an upgrade which
 * they can do without; what both do together must not make one request's body another request, nor one answer another's content.
 */
export class Pipelining {
  readonly #maxUnanswered: number;
  readonly #unanswered = new WeakMap<Duplex, number>();
  readonly #ending = new WeakSet<Duplex>();

  /**
   * `maxUnanswered`: requests that may wait on one connection. One read brings thousands, and their answers would be made one after the
   * other while everybody else waits.
   */
  constructor({ maxUnanswered }: { maxUnanswered: number }) {
    this.#maxUnanswered = maxUnanswered;
  }

  /** False when the request must not be looked at: it may be a piece of another one, or is one too many. Its connection has been closed then. */
  takesRequest({ socket, headers }: IncomingMessage, response: ServerResponse): boolean {
    if (this.#ending.has(socket) || (this.#unanswered.get(socket) ?? 0) >= this.#maxUnanswered) {
      this.#ending.add(socket); // the rest of what was read with it follows
      socket.destroy();
      return false;
    }
    if (headers.upgrade !== undefined) {
      // Node drops what it has read behind an upgrade that is not taken, and goes on parsing with the next read, wherever that is.
      this.#ending.add(socket);
      response.setHeader('Connection', 'close');
    }
    this.#count(socket, 1);
    response.once('close', () => this.#count(socket, -1));
    return true;
  }

  /** False when an answer is still to be written on this connection, or it is at its end. It has been closed then. */
  takesUpgrade(socket: Duplex): boolean {
    if (!this.#ending.has(socket) && (this.#unanswered.get(socket) ?? 0) === 0) return true;
    socket.destroy();
    return false;
  }

  #count(socket: Duplex, change: 1 | -1): void {
    this.#unanswered.set(socket, (this.#unanswered.get(socket) ?? 0) + change);
  }
}
