/** kubectl gives up a connection that answers no PING for 61 s, or takes nothing of a message for 60 s. */
const READ_AGAIN_AFTER_MS = 20_000;
/** As much as one message may hold: what a session can keep in memory anyway. */
const MAX_STALLED_BYTES = 16 * 1024 * 1024;

/**
 * Decides when a WebSocket is read whose input the command does not take.
 *
 * Not reading is the only way to slow a client down, and it stops the client's PINGs too, since they come behind its input. So
 * every 20 s the connection is read up to its next PING, which is then answered; what that brings of input is kept, 16 MiB in
 * all. (SPDY clients do not mind: an unanswered PING only makes them send no more.)
 */
export class InputStall {
  readonly #pause: () => void;
  readonly #resume: () => void;
  #state: 'flowing' | 'waiting' | 'looking for a PING' = 'flowing';
  #stalledBytes = 0;
  #timer: NodeJS.Timeout | undefined;

  /** `pause` and `resume` stop and start the reading of the connection. */
  constructor(options: { pause: () => void; resume: () => void }) {
    this.#pause = options.pause;
    this.#resume = options.resume;
  }

  /** Input has come that is more than the command takes. After a pause the rest of what was read still follows. */
  full(bytes: number): void {
    this.#stalledBytes += bytes;
    const enough = this.#stalledBytes >= MAX_STALLED_BYTES;
    if (this.#state === 'flowing' || (this.#state === 'looking for a PING' && enough)) this.#wait();
  }

  /** The client has sent a PING, and will be answered. */
  ping(): void {
    if (this.#state === 'looking for a PING') this.#wait();
  }

  /** The command takes input again, or none is kept for it any more. To be called at the connection's end, too. */
  over(): void {
    clearTimeout(this.#timer);
    this.#state = 'flowing';
    this.#stalledBytes = 0;
    this.#resume();
  }

  #wait(): void {
    this.#state = 'waiting';
    this.#pause();
    if (this.#stalledBytes >= MAX_STALLED_BYTES) return; // from here on the client waits, or gives up
    this.#timer = setTimeout(() => {
      this.#state = 'looking for a PING';
      this.#resume();
    }, READ_AGAIN_AFTER_MS).unref();
  }
}
