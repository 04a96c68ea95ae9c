/** Intervals from the first look to the last; a minute by default. */
export const SILENT_INTERVALS = 3;
/** A live peer leaves one unanswered now and then; of a paused one each may stand for two minutes until the next is sent. */
const MIN_UNANSWERED = 3;

/**
 * Judges by looks at the kernel's count of unanswered packets, an interval apart, whether a peer's host is gone.
 *
 * The count falls when the peer is heard. It may also stand still at a peer that is there: one whose window closed while a packet
 * was repeated keeps its count until the window opens. So it must also rise from the first look to the last.
 */
export class TcpSilence {
  #looks = 0;
  #first = 0;
  #last = 0;

  /** Takes the count of one look, undefined where the kernel did not say; true when the host is gone. */
  look(unanswered: number | undefined): boolean {
    if (unanswered === undefined || unanswered === 0 || unanswered < this.#last) this.#looks = 0;
    this.#last = unanswered ?? 0;
    if (this.#last === 0) return false;
    if (this.#looks === 0) this.#first = this.#last;
    this.#looks += 1;
    return this.#looks > SILENT_INTERVALS && this.#last >= MIN_UNANSWERED && this.#last > this.#first;
  }
}
