/** Before its end, so that whoever sits at a terminal can do something about it. */
const WARNING_MS = 60_000;

export interface SessionClockOptions {
  /** When the session is to end, by `performance.now()`; it may be later each time that it is asked. */
  readonly dueAt: () => number;
  /** From nothing to the end: a clock that runs shorter than two warnings warns at half of it. */
  readonly lengthMs: number;
  /** Called once for each due time that comes near. */
  readonly onWarning: (leftMs: number) => void;
  /** Called at most once; the clock has stopped then. */
  readonly onDue: () => void;
}

/**
 * Ends a session at a time that moves, and warns before. One timer, however often the time moves: only when it fires is it asked where
 * the time is now.
 */
export class SessionClock {
  readonly #options: SessionClockOptions;
  readonly #warningMs: number;
  #timer: NodeJS.Timeout | undefined;
  #warnedOf: number | undefined;

  /** Runs from here on, until it is due or `stop` is called. */
  constructor(options: SessionClockOptions) {
    this.#options = options;
    this.#warningMs = Math.min(WARNING_MS, options.lengthMs / 2);
    this.#look();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #look(): void {
    const { dueAt, onWarning, onDue } = this.#options;
    const due = dueAt();
    const leftMs = due - performance.now();
    if (leftMs <= 0) {
      onDue();
      return;
    }
    if (leftMs <= this.#warningMs && this.#warnedOf !== due) {
      this.#warnedOf = due;
      onWarning(leftMs);
    }
    const untilWarningMs = leftMs - this.#warningMs;
    this.#timer = setTimeout(() => this.#look(), Math.ceil(untilWarningMs > 0 ? untilWarningMs : leftMs)).unref();
  }
}
