// Writes the table of docs/conformance.md from the suite. `--check` only says whether it is up to date.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HANDSHAKES } from '../test/integration/conformance/handshakes.ts';
import { ELSEWHERE, ITEMS } from '../test/integration/conformance/items.ts';
import { ROWS } from '../test/integration/conformance/table.ts';

const PAGE = join(import.meta.dirname, '..', 'docs', 'conformance.md');
const BEGIN = '<!-- items: written by scripts/conformance-table.ts -->\n';
const END = '<!-- end of items -->\n';

const page = readFileSync(PAGE, 'utf8');
const updated = withTable(page);
if (updated === page) {
  process.stdout.write('docs/conformance.md is up to date\n');
} else if (process.argv.includes('--check')) {
  process.stderr.write('docs/conformance.md is stale; run: node scripts/conformance-table.ts\n');
  process.exitCode = 1;
} else {
  writeFileSync(PAGE, updated);
  process.stdout.write('docs/conformance.md has been written\n');
}

function withTable(text: string): string {
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin < 0 || end < begin)
    throw new Error(`docs/conformance.md needs the lines ${BEGIN.trim()} and ${END.trim()}`);
  return text.slice(0, begin + BEGIN.length) + itemsTable() + text.slice(end);
}

function itemsTable(): string {
  const rows = Object.entries(ITEMS).map(([number, item]) => {
    const shown = [
      ...ROWS.filter(({ items }) => items.includes(Number(number))).map(({ title }) => title),
      ...new Set(
        HANDSHAKES.filter(({ items }) => items.includes(Number(number))).map(({ title }) =>
          title.replace(/, by .*/, ''),
        ),
      ),
    ];
    const elsewhere = ELSEWHERE[Number(number)];
    if (shown.length === 0 && elsewhere === undefined) throw new Error(`nothing shows item ${number}`);
    return [number, item, [...shown, ...(elsewhere === undefined ? [] : [elsewhere])].join('; ')];
  });
  return [['item', 'what is asked', 'what shows it'], ['---', '---', '---'], ...rows]
    .map(cells => `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |\n`)
    .join('');
}
