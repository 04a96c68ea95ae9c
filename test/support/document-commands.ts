import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CHECKOUT } from './checkout.ts';

/** A command of a document as a user would type it, and the output that the document shows for it, where it does. */
export interface DocumentCommand {
  /** With its continuation lines and here-documents; without the comment behind it. */
  readonly text: string;
  readonly output?: string;
}

/** A block ```sh or ```console of a document. */
export interface DocumentBlock {
  readonly document: string;
  readonly line: number;
  readonly commands: readonly DocumentCommand[];
}

/** Every document that users read, from the root of the checkout. */
export function documentPaths(): string[] {
  const patterns = ['*.md', 'docs/**/*.md', 'examples/**/*.md', 'deploy/**/*.md'];
  return globSync(patterns, { cwd: CHECKOUT }).sort();
}

export function readDocument(path: string): string {
  return readFileSync(join(CHECKOUT, path), 'utf8');
}

/** The blocks of commands, in their order. */
export function blocksOf(document: string, text: string): DocumentBlock[] {
  return [...text.matchAll(/^([ \t]*)```(sh|shell|bash|console)\n(.*?)^\1```$/gms)].map(match => {
    const [, indent = '', language, body = ''] = match;
    const lines = body.split('\n').slice(0, -1);
    const plain = lines.map(line => (line.startsWith(indent) ? line.slice(indent.length) : line));
    const line = text.slice(0, match.index).split('\n').length;
    return { document, line, commands: language === 'console' ? consoleCommands(plain) : shellCommands(plain) };
  });
}

/** The text outside of blocks: what is between back quotes there. */
export function codeSpansOf(text: string): string[] {
  const prose = text.replaceAll(/^[ \t]*```.*?^[ \t]*```$/gms, '');
  return [...prose.matchAll(/(`+)(.+?)\1/gs)].map(([, , span = '']) => span.replaceAll(/\s+/g, ' ').trim());
}

/** A command ends with its line, unless a backslash or a here-document goes on. */
export function shellCommands(lines: readonly string[]): DocumentCommand[] {
  const commands: DocumentCommand[] = [];
  const rest = lines.values();
  for (const first of rest) {
    if (/^\s*(#|$)/.test(first)) continue;
    let text = withoutComment(first);
    while (text.endsWith('\\')) text += `\n${withoutComment(next(rest))}`;
    const [, end] = /<<-?\s*['"]?(\w+)['"]?/.exec(text) ?? [];
    for (let line = ''; end !== undefined && line !== end; text += `\n${line}`) line = next(rest);
    commands.push({ text });
  }
  return commands;
}

/** A line that begins with `$ ` is typed; what follows is shown. */
function consoleCommands(lines: readonly string[]): DocumentCommand[] {
  const commands: { text: string; output: string }[] = [];
  for (const line of lines) {
    const last = commands.at(-1);
    if (line.startsWith('$ ')) commands.push({ text: line.slice(2), output: '' });
    else if (last !== undefined) last.output += `${line}\n`;
  }
  return commands;
}

/** What stands behind ` # `, outside of quotes, is for the reader. */
function withoutComment(line: string): string {
  const [, command = ''] = /^((?:'[^']*'|"(?:\\.|[^"\\])*"|(?!\s#\s)[^'"])*)/.exec(line) ?? [];
  return command.trimEnd();
}

function next(lines: Iterator<string, undefined>): string {
  const { value } = lines.next();
  if (value === undefined) throw new Error('a command of the document does not end with its block');
  return value;
}
