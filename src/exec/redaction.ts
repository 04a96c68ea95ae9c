import { type Context, createContext, Script } from 'node:vm';

/** What stands where something was hidden. */
export const REDACTED = '[redacted]';

/** How much of a command the patterns see, in UTF-16 units of its arguments joined by spaces. */
export const MAX_MATCHED_UNITS = 32 * 1024;
/**
 * For all patterns of one command; the event loop stands still for so long at worst. An ordinary match takes microseconds, but
 * this is time of the clock, and on a busy machine a process that did nothing wrong may not run for 100 ms.
 */
const MATCHING_MS = 500;

/**
 * A pattern of `--session-log-redact`: a JavaScript regular expression without delimiters and flags. Letters count with their
 * case; `(?i:…)` is for those that shall not.
 *
 * @throws {Error} with one line that does not repeat the pattern, which may itself hold a secret
 */
export function parseRedactPattern(text: string): RegExp {
  if (text === '') throw new Error('an empty pattern hides nothing');
  let message: string;
  try {
    return new RegExp(text, 'g');
  } catch (cause) {
    message = cause instanceof Error ? cause.message : '';
  }
  // "Invalid regular expression: /PATTERN/g: REASON"; so it is not kept as the cause either.
  throw new Error(`not a regular expression: ${message.slice(message.lastIndexOf(': ') + 2)}`);
}

export interface RedactedCommand {
  readonly command: readonly string[];
  /** It is longer than what was kept of it. */
  readonly cut: boolean;
  /** The patterns took too long: all of the command is hidden. */
  readonly timedOut: boolean;
}

/**
 * Hides in a command what the patterns match.
 *
 * The patterns see the arguments as one text, joined by single spaces, since a secret is often an argument of its own, and only
 * the one before shows it (`--password hunter2`). What matches is replaced within its argument. A match that covers the
 * beginning of an argument hides all of it: a secret with a space in it would otherwise be hidden up to the space. Each
 * pattern sees the original, so their order does not matter.
 *
 * Of the text `maxUnits` are kept, at most `MAX_MATCHED_UNITS`; what is behind is seen by the patterns only, so that a secret
 * across the cut is recognised by its end.
 */
export class CommandRedactor {
  readonly #patterns: readonly RegExp[];
  readonly #match = new Script('match()');
  #text = '';
  #hidden: [start: number, end: number][] = [];
  /** Backtracking can take longer than the universe is old, and only what a context runs can be interrupted. */
  readonly #context: Context | undefined;

  constructor(patterns: readonly RegExp[]) {
    this.#patterns = patterns;
    if (patterns.length > 0) this.#context = createContext({ match: () => this.#findMatches() });
  }

  redact(command: readonly string[], maxUnits: number): RedactedCommand {
    const kept = firstUnits(command, maxUnits);
    const cut = kept.length < command.length || kept.at(-1)?.length !== command.at(-1)?.length;
    if (this.#context === undefined) return { command: kept, cut, timedOut: false };
    this.#text = firstUnits(command, MAX_MATCHED_UNITS).join(' ');
    this.#hidden = [];
    try {
      this.#match.runInContext(this.#context, { timeout: MATCHING_MS });
    } catch {
      // Interrupted. What a pattern has not been asked about must not be shown.
      return { command: [REDACTED], cut, timedOut: true };
    } finally {
      this.#text = '';
    }
    return { command: hide(kept, merge(this.#hidden)), cut, timedOut: false };
  }

  #findMatches(): void {
    for (const pattern of this.#patterns) {
      for (const match of this.#text.matchAll(pattern)) {
        if (match[0] !== '') this.#hidden.push([match.index, match.index + match[0].length]);
      }
    }
  }
}

/** The arguments up to that many units of their joined text; the last may be cut. */
function firstUnits(command: readonly string[], maxUnits: number): string[] {
  const kept: string[] = [];
  let left = maxUnits;
  for (const argument of command) {
    if (left <= 0) break;
    kept.push(argument.slice(0, left));
    left -= argument.length + 1;
  }
  return kept;
}

/** In order and without overlaps. */
function merge(ranges: [number, number][]): [number, number][] {
  const merged: [number, number][] = [];
  for (const [start, end] of ranges.sort(([a], [b]) => a - b)) {
    const last = merged.at(-1);
    if (last !== undefined && start <= last[1]) last[1] = Math.max(last[1], end);
    else merged.push([start, end]);
  }
  return merged;
}

/** Each argument with the ranges of the joined text hidden that reach into it. */
function hide(command: readonly string[], ranges: readonly (readonly [number, number])[]): string[] {
  let from = 0;
  let next = 0;
  return command.map(argument => {
    const end = from + argument.length;
    let shown = '';
    let at = from;
    for (; next < ranges.length; next++) {
      const [start, stop] = ranges[next] ?? [end, end];
      if (start >= end) break;
      if (stop > from) {
        shown = start <= from ? '' : shown + argument.slice(at - from, start - from);
        shown += REDACTED;
        at = start <= from ? end : Math.min(stop, end);
      }
      if (stop > end) break; // it reaches into the next argument
    }
    shown += argument.slice(at - from);
    from = end + 1;
    return shown;
  });
}
