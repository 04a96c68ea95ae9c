import { createHmac, randomBytes } from 'node:crypto';
import { AccessFileError } from './access-file-error.ts';
import { groupsOf, type Caller } from './caller.ts';

/** Whether a header can carry it behind `Bearer`. */
export function isBearerToken(text: string): boolean {
  return /^[\x21-\x7e]+$/.test(text);
}

/**
 * The bearer tokens of a file, without their text: each is kept as an HMAC under a key that lives as long as this object and is
 * seen nowhere. Looking a digest up takes a time that may depend on it, but whoever sends a token can neither choose its digest
 * nor tell how near to another one it came. So one look-up is enough, however many tokens there are.
 */
export class TokenFile {
  /** One line for each record that says something it cannot mean; never with text of a token. */
  readonly problems: readonly string[];
  readonly #key = randomBytes(32);
  readonly #callers = new Map<string, Caller>();

  constructor(records: Iterable<CsvRecord>) {
    const problems: string[] = [];
    for (const record of records) {
      const [token = '', name = '', uid = '', groups = ''] = record.columns;
      const digest = this.#digestOf(token);
      const problem = problemOf(token, name);
      if (problem === undefined) {
        if (this.#callers.has(digest))
          problems.push(`line ${record.line}: the token stands on an earlier line too: this line wins`);
        this.#callers.set(digest, callerOf({ name, uid, groups }));
      } else {
        problems.push(`line ${record.line}: ${problem}: this line is skipped`);
      }
    }
    this.problems = problems;
  }

  /** How many tokens are known. */
  get size(): number {
    return this.#callers.size;
  }

  /** Whose token it is; undefined for one that is not known. */
  lookup(token: string): Caller | undefined {
    return this.#callers.get(this.#digestOf(token));
  }

  /** Whoever the tokens of that user name are of, in the order of the file: with several tokens they may have other groups. */
  callersNamed(name: string): readonly Caller[] {
    return [...this.#callers.values()].filter(caller => caller.name === name);
  }

  #digestOf(token: string): string {
    return createHmac('sha256', this.#key).update(token).digest('base64');
  }
}

/**
 * Reads a file of tokens as kube-apiserver's `--token-auth-file` has them: CSV (RFC 4180) with token, user name, user uid and
 * perhaps groups (one column, with commas between them); what follows is ignored. There are no comments. Unlike there, a record
 * without a user name, or with a token that no header can carry, is skipped.
 *
 * @throws {AccessFileError} for CSV that is broken and for a record of fewer than three columns, with its line
 */
export function parseTokenFile(text: string): TokenFile {
  return new TokenFile(readCsv(text));
}

function problemOf(token: string, name: string): string | undefined {
  if (token === '') return 'the token is empty';
  if (!isBearerToken(token)) return 'the token holds a space or a character that no Authorization header can carry';
  if (name === '') return 'the user name is empty';
  return undefined;
}

function callerOf({ name, uid, groups }: { name: string; uid: string; groups: string }): Caller {
  const named = groups.split(',').filter(group => group !== '');
  return {
    name: detached(name),
    ...(uid !== '' && { uid: detached(uid) }),
    groups: groupsOf(name, named.map(detached)),
    extra: new Map(),
    proof: 'token_file',
  };
}

/** A copy: V8 keeps the whole text, with all the tokens, for as long as a slice of it is in use. */
function detached(slice: string): string {
  return Buffer.from(slice).toString();
}

interface CsvRecord {
  /** The first of its lines, from 1. */
  readonly line: number;
  readonly columns: readonly string[];
}

/** Reads CSV as Go's encoding/csv does, which Kubernetes uses: CRLF counts as LF, empty lines are skipped, spaces are text. */
function* readCsv(text: string): Generator<CsvRecord> {
  const source = text.replaceAll('\r\n', '\n').replace(/\r$/, '');
  let line = 1;
  for (let at = 0; at < source.length;) {
    if (source[at] === '\n') {
      at += 1;
      line += 1;
      continue;
    }
    const columns: string[] = [];
    let end = at - 1;
    do {
      const column = readColumn(source, end + 1, line);
      columns.push(column.value);
      ({ end } = column);
    } while (source[end] === ',');
    if (columns.length < 3) {
      const found = columns.length === 1 ? '1 column' : `${columns.length} columns`;
      throw new AccessFileError(
        `line ${line}: must have at least 3 columns (token, user name, user uid), and has ${found}`,
      );
    }
    yield { line, columns };
    line += source.slice(at, end + 1).split('\n').length - 1;
    at = end + 1;
  }
}

/** The column that starts at `begin`; `end` is where its comma or line feed is, or the end of the text. */
function readColumn(source: string, begin: number, line: number): { readonly value: string; readonly end: number } {
  if (source[begin] !== '"') {
    const length = source.slice(begin).search(/[,\n]/);
    const end = length === -1 ? source.length : begin + length;
    const value = source.slice(begin, end);
    if (value.includes('"'))
      throw new AccessFileError(`line ${line}: a quote within a column that does not begin with one`);
    return { value, end };
  }
  const parts: string[] = [];
  for (let from = begin + 1; ;) {
    const quote = source.indexOf('"', from);
    if (quote === -1) throw new AccessFileError(`line ${line}: a quote is not closed`);
    parts.push(source.slice(from, quote));
    from = quote + 2;
    if (source[quote + 1] === '"') continue;
    const end = quote + 1;
    if (end < source.length && source[end] !== ',' && source[end] !== '\n') {
      throw new AccessFileError(`line ${line}: text behind a closing quote`);
    }
    return { value: parts.join('"'), end };
  }
}
