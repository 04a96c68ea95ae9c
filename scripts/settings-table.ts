// Writes the README's table of settings from the schema. `--check` only says whether it is up to date.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SETTINGS } from '../src/config/schema.ts';

const README = join(import.meta.dirname, '..', 'README.md');
const BEGIN = '<!-- settings: written by scripts/settings-table.ts -->\n';
const END = '<!-- end of settings -->\n';

const readme = readFileSync(README, 'utf8');
const updated = withTable(readme);
if (updated === readme) {
  process.stdout.write('README.md: the table of settings is up to date\n');
} else if (process.argv.includes('--check')) {
  process.stderr.write('README.md: the table of settings is stale; run: node scripts/settings-table.ts\n');
  process.exitCode = 1;
} else {
  writeFileSync(README, updated);
  process.stdout.write('README.md: the table of settings has been written\n');
}

function withTable(text: string): string {
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`README.md needs the lines ${BEGIN.trim()} and ${END.trim()}`);
  return text.slice(0, begin + BEGIN.length) + settingsTable() + text.slice(end);
}

function settingsTable(): string {
  const rows = SETTINGS.map(({ flag, key, placeholder, default: byDefault, help }) => [
    `\`${flag} ${placeholder}\``,
    key === undefined ? '' : `\`${key}\``,
    byDefault,
    help,
  ]);
  return [['flag', 'key in the file', 'default', 'what it is'], ['---', '---', '---', '---'], ...rows]
    .map(cells => `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |\n`)
    .join('');
}
