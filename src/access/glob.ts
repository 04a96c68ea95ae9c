/**
 * A pattern for a whole text: `*` stands for any characters, none included, and `?` for one (a UTF-16 unit). Everything else
 * stands for itself, in the case it is written in; there is no escape.
 */
export class Glob {
  readonly pattern: string;
  readonly #literal: boolean;

  constructor(pattern: string) {
    this.pattern = pattern;
    this.#literal = !/[*?]/.test(pattern);
  }

  /** Nothing but stars: whatever there is. */
  get matchesAll(): boolean {
    return /^\*+$/.test(this.pattern);
  }

  matches(text: string): boolean {
    if (this.#literal) return text === this.pattern;
    return matchesInOrder(this.pattern, text, {
      isStar: wanted => wanted === '*',
      fits: (wanted, character) => wanted === '?' || wanted === character,
    });
  }
}

/** A command that is longer, in characters of all its arguments, matches no pattern. */
const MAX_COMMAND_LENGTH = 16 * 1024;

/**
 * A pattern for a command: a glob for each argument, with single spaces between them. A word `*` by itself stands for any
 * arguments, none included; in any other word a star stays within its argument, so that `cat /var/log/*` does not let
 * `cat /var/log/x /etc/shadow` pass. Arguments are compared one by one and never joined: a space within one is a character
 * like others, and cannot look like the end of it.
 */
export class CommandGlob {
  readonly pattern: string;
  readonly #words: readonly Glob[];

  constructor(pattern: string) {
    this.pattern = pattern;
    this.#words = pattern.split(' ').map(word => new Glob(word));
  }

  /** Nothing but stars: whatever the command is. */
  get matchesAll(): boolean {
    return this.#words.every(word => word.matchesAll);
  }

  matches(command: readonly string[]): boolean {
    const length = command.reduce((sum, argument) => sum + argument.length + 1, 0);
    if (length > MAX_COMMAND_LENGTH) return false;
    return matchesInOrder(this.#words, command, {
      isStar: word => word.matchesAll,
      fits: (word, argument) => word.matches(argument),
    });
  }
}

/**
 * Whether the items are what the pattern wants, one by one, with any number of them for a star. Takes at most as many steps as
 * the product of both lengths, whatever they hold; a regular expression would take hostile texts to backtrack.
 */
function matchesInOrder<Wanted, Item>(
  pattern: ArrayLike<Wanted>,
  items: ArrayLike<Item>,
  { isStar, fits }: { isStar: (wanted: Wanted) => boolean; fits: (wanted: Wanted, item: Item) => boolean },
): boolean {
  let place = 0;
  let at = 0;
  // Where to go on when something behind the last star does not fit: the star takes one item more. Stars before it need not be
  // tried again, since they have taken as little as they could.
  let retry: { readonly place: number; readonly at: number } | undefined;
  while (at < items.length) {
    const wanted = pattern[place];
    const item = items[at];
    if (wanted !== undefined && isStar(wanted)) {
      place += 1;
      retry = { place, at };
    } else if (wanted !== undefined && item !== undefined && fits(wanted, item)) {
      place += 1;
      at += 1;
    } else if (retry !== undefined) {
      retry = { place: retry.place, at: retry.at + 1 };
      ({ place, at } = retry);
    } else {
      return false;
    }
  }
  return Array.from(pattern).slice(place).every(isStar);
}
