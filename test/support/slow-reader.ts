/** Reads no faster than so many bytes a second, by pausing after what has come. */
export class SlowReader {
  readonly #bytesPerMs: number;
  readonly #connection: { pause(): void; resume(): void };
  #dueAt = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(bytesPerSecond: number, connection: { pause(): void; resume(): void }) {
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#connection = connection;
  }

  /** To be called with everything that has been read. */
  took(bytes: number): void {
    this.#dueAt = Math.max(this.#dueAt, Date.now()) + bytes / this.#bytesPerMs;
    this.#connection.pause();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connection.resume(), Math.max(0, this.#dueAt - Date.now()));
  }
}
