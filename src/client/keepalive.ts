import type { WebSocket } from 'ws';

/** As kubectl: a ping every 5 seconds, and 61 seconds without any answer mean that nobody is there. */
const PING_INTERVAL_MS = 5_000;
const SILENCE_MS = 61_000;

/**
 * Finds out that the server is gone although the connection never says so.
 *
 * A server that stops reading because the command does not take its input cannot answer pings either. So silence counts only
 * where the newest answer came to a ping that was sent after all input, and never while we ourselves do not read; TCP judges
 * the rest.
 */
export class Keepalive {
  readonly #socket: WebSocket;
  readonly #onSilence: () => void;
  #timer: NodeJS.Timeout | undefined;
  #heardAt = 0;
  /** Pieces of input sent so far; each ping carries the number, and its answer brings it back. */
  #sent = 0;
  #sentBeforeAnswer = 0;

  constructor(socket: WebSocket, onSilence: () => void) {
    this.#socket = socket;
    this.#onSilence = onSilence;
  }

  start(): void {
    this.#heardAt = Date.now();
    this.#socket.on('pong', this.#onPong).on('message', this.#onLife).on('ping', this.#onLife);
    this.#timer = setInterval(this.#tick, PING_INTERVAL_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#socket.off('pong', this.#onPong).off('message', this.#onLife).off('ping', this.#onLife);
  }

  /** To be called with every piece of input that is sent. */
  inputSent(): void {
    this.#sent += 1;
  }

  readonly #onPong = (payload: Buffer): void => {
    this.#sentBeforeAnswer = Number(payload.toString());
    this.#onLife();
  };

  readonly #onLife = (): void => {
    this.#heardAt = Date.now();
  };

  readonly #tick = (): void => {
    if (this.#socket.isPaused) this.#onLife();
    if (this.#sentBeforeAnswer === this.#sent && Date.now() - this.#heardAt > SILENCE_MS) {
      this.#onSilence();
      return;
    }
    this.#socket.ping(String(this.#sent), undefined, () => undefined); // its failure is the connection's, told by 'close'
  };
}
