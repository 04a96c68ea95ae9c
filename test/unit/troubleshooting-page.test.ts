import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadSettings } from '../../src/config/load.ts';
import { SETTINGS } from '../../src/config/schema.ts';
import { CHECKOUT } from '../support/checkout.ts';
import { httpStatuses, messagesOf, userMessages, type UserMessage } from '../support/user-messages.ts';

/** Where errors are made that nobody is told: what they mean is said by whoever catches them. */
const UNSEEN_FILES: ReadonlySet<string> = new Set([
  'src/spdy/header-block.ts', // a SpdyError closes the connection with a code of SPDY's
  'src/doctor/listener-check.ts', // its lines are advice themselves
  'src/version.ts', // of a package that is not whole
]);
const UNSEEN: ReadonlySet<string> = new Set([
  'the setting … is not described', // a mistake of ours, which a test finds
  'nothing decides what callers may do', // the settings do not allow that
  'execlet stops', // reviews under way at the end of the process
  'closed before an answer', // becomes "cannot reach the API server (ECONNRESET)"
  'the exec is over', // ends a wait
  'not within … s', // part of what `execlet version` prints
  '… (session …)', // stands behind every message after the upgrade: said there in prose
  'it allows …, not …', // what `execlet doctor --as` explains: docs/authorization-rules.md
  'it is for commands …',
  'it is for …',
]);

interface Row {
  readonly heading: string;
  readonly cells: Readonly<Record<string, string>>;
  readonly messages: readonly string[];
}

const page = await readFile(join(CHECKOUT, 'docs', 'troubleshooting.md'), 'utf8');
const rows = rowsOf(page);
const documented = new Map(rows.flatMap(row => row.messages.map(message => [normal(message), row] as const)));
const messages = (await userMessages(UNSEEN_FILES)).filter(message => !UNSEEN.has(normalOf(message)));

/** The rows of every table that has a column `message`. */
function rowsOf(text: string): readonly Row[] {
  const found: Row[] = [];
  let heading = '';
  let columns: readonly string[] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('## ')) heading = line.slice(3);
    if (!line.startsWith('|')) columns = [];
    else if (columns.length === 0) columns = cellsOf(line);
    else if (!/^[| -]+$/.test(line) && columns.includes('message')) {
      const values = cellsOf(line);
      const cells = Object.fromEntries(columns.map((column, index) => [column, values[index] ?? '']));
      found.push({ heading, cells, messages: spansOf(cells.message ?? '') });
    }
  }
  return found;
}

function cellsOf(line: string): readonly string[] {
  return line
    .split('|')
    .slice(1, -1)
    .map(cell => cell.trim());
}

/** The code spans of a cell; two backquotes where the code holds one. */
function spansOf(cell: string): readonly string[] {
  return [...cell.matchAll(/``(.+?)``|`([^`]+)`/g)].map(([, double, single]) => double ?? single ?? '');
}

/** Whatever stands for something else, as one sign. */
function normal(text: string): string {
  return text.replaceAll(/…|[A-Z]+(_[A-Z]+)+|\b[A-Z]{2,}\b/g, '…').replaceAll(/…+/g, '…');
}

function normalOf({ pieces }: UserMessage): string {
  return normal(pieces.join('…'));
}

/** A quoted message as a pattern of what is really said. */
function patternOf(message: string): RegExp {
  const literal = normal(message)
    .split('…')
    .map(piece => piece.replaceAll(/[$()*+.?[\\\]^{|}]/g, String.raw`\$&`));
  return new RegExp(`${literal.join('.*')}$`);
}

test('every message of the sources has a row', () => {
  const missing = messages.filter(message => !documented.has(normalOf(message)));
  assert.deepEqual(
    missing.map(({ place, pieces }) => `${place}: ${pieces.join('…')}`),
    [],
    'docs/troubleshooting.md lacks these: give each a row, or say in this file why nobody is told',
  );
});

test('every message of the page is in the sources', () => {
  const known = new Set(messages.map(normalOf));
  assert.deepEqual(
    [...documented.keys()].filter(message => !known.has(message)),
    [],
  );
});

test('what is left out is there', async () => {
  const all = new Set((await userMessages(new Set())).map(normalOf));
  assert.deepEqual(
    [...UNSEEN].filter(message => !all.has(message)),
    [],
  );
});

test('a row has a cause and a cure', () => {
  for (const { cells } of rows) {
    for (const column of ['cause', 'cure'])
      assert.notEqual(cells[column] ?? '', '', `${column} of ${cells.message ?? ''}`);
  }
});

test('execlet doctor: every check has a row, and there is no other', async () => {
  const source = await readFile(join(CHECKOUT, 'src', 'doctor', 'doctor.ts'), 'utf8');
  const checks = [...source.matchAll(/\b(?:check|named)\('([\w-]+)'/g)].map(([, name = '']) => name);
  const [, table = ''] = /\| check [^\n]+\n\|[ |-]+\n((?:\|.*\n)+)/.exec(page) ?? [];
  const listed = table.split('\n').flatMap(line => spansOf(cellsOf(line)[0] ?? ''));
  assert.deepEqual(listed.sort(), [...new Set(checks)].sort());
});

test('before the upgrade: each failure has its code, and every code that there is has a row', async () => {
  const statuses = await httpStatuses();
  const before = rows.filter(({ cells }) => cells.code !== undefined);
  const codes = new Set(before.map(({ cells }) => Number(cells.code)));
  // What is only told after the upgrade has a reason instead.
  const expected = [...statuses].filter(([code]) => code !== 'StreamsNotCreated').map(([, status]) => status);
  assert.deepEqual(
    [...new Set(expected)].filter(status => !codes.has(status)),
    [],
  );
  for (const message of messages) {
    const row = documented.get(normalOf(message));
    if (message.code === undefined || row?.cells.code === undefined) continue;
    assert.equal(Number(row.cells.code), statuses.get(message.code), `${message.place}: ${row.cells.message ?? ''}`);
  }
});

test('after the upgrade: every end reason has a row, and there is no other', async () => {
  const source = await readFile(join(CHECKOUT, 'src', 'exec', 'end-reason.ts'), 'utf8');
  const [union = ''] = /export type EndReason =[^;]+/.exec(source) ?? [];
  const reasons = [...union.matchAll(/'(\w+)'/g)].map(([, reason = '']) => reason);
  const listed = rows.flatMap(({ cells }) => spansOf(cells.reason ?? ''));
  assert.ok(reasons.length > 5);
  assert.deepEqual([...new Set(listed)].sort(), reasons.sort());
});

test('what a setting says of a wrong value is in the table of settings', () => {
  const patterns = rows
    .filter(({ heading }) => heading.startsWith('Settings'))
    .flatMap(row => row.messages.map(patternOf));
  let refused = 0;
  for (const { flag, key } of SETTINGS) {
    if (key === undefined) continue;
    try {
      loadSettings({ flags: { [key]: '\0' }, env: {}, readFile: () => '' });
    } catch (cause) {
      refused++;
      const { message: said } = cause as Error;
      assert.ok(said.startsWith(flag), said);
      assert.ok(
        patterns.some(pattern => pattern.test(said)),
        `no row for: ${said}`,
      );
    }
  }
  assert.ok(refused > 30, `${refused} of the settings take anything`);
});

test('messages are found where they are made: joined, chosen, named before, and returned', () => {
  const source = `
    const what = 'a thing';
    const hint = flag ? 'one' : 'two';
    function bindFailure(port: number): string { return \`port \${port} is taken\`; }
    if (a) throw new ExecletError('NotAllowed', 'this is ' + what);
    if (b) throw ClientError.usage(late ? 'too late' : \`\${name} is too early: \${hint}\`);
    const text = \`no \${what} here\`;
    throw new SettingsError(text);
    await print(\`execlet: note well: \${name}\\n\`, process.stderr);
    await print('the output\\n');
    process.stderr.write(\`needs \${name}, and has none\\n\`);
    return { text, note: 'mind this' };`;
  const found = messagesOf('src/x.ts', source);
  assert.deepEqual(
    found.map(({ pieces }) => pieces.join('…')).sort(),
    [
      'this is a thing',
      'too late',
      '… is too early: …',
      'no a thing here',
      'port … is taken',
      'note well: …',
      'needs …, and has none',
      'mind this',
    ].sort(),
  );
  assert.equal(found.find(({ pieces }) => pieces[0] === 'this is a thing')?.code, 'NotAllowed');
});
