import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { CHECKOUT } from '../support/checkout.ts';
import { EXECLET_METRICS } from '../support/metric-list.ts';
import { readAlerts } from '../support/monitoring.ts';

const page = await readFile(join(CHECKOUT, 'docs', 'metrics.md'), 'utf8');

/** The cells of the rows that begin with a name of that kind. */
function rowsOf(name: RegExp): string[][] {
  return page
    .split('\n')
    .map(line =>
      line
        .split('|')
        .slice(1, -1)
        .map(cell => cell.trim()),
    )
    .filter(([first = '']) => name.test(first));
}

test('docs/metrics.md has every metric with its type, labels and their values', () => {
  const rows = rowsOf(/^`execlet_/);
  assert.deepEqual(rows.map(([name = '']) => name.replaceAll('`', '')).sort(), Object.keys(EXECLET_METRICS).sort());
  for (const [cell = '', type, labelCell = '', tells = ''] of rows) {
    const name = cell.replaceAll('`', '');
    const listed = EXECLET_METRICS[name] ?? assert.fail(name);
    assert.equal(type, listed.type, name);
    assert.notEqual(tells, '', name);
    const labels = labelCell.split(';').filter(part => part.trim() !== '');
    const documented = labels.map(part => {
      const [, label = '', values] = /^`(\w+)`(?:: (.*))?$/.exec(part.trim()) ?? assert.fail(`${name}: ${part}`);
      return [label, values === undefined ? undefined : values.split(', ').sort()];
    });
    const expected = Object.entries(listed.labels ?? {}).map(([label, values]) => [
      label,
      values && [...new Set(values)].sort(),
    ]);
    assert.deepEqual(Object.fromEntries(documented), Object.fromEntries(expected), name);
  }
});

test('docs/metrics.md has every alert', async () => {
  const alerts = (await readAlerts()).map(({ alert }) => alert);
  assert.deepEqual(
    rowsOf(/^`Execlet/).map(([name]) => name),
    alerts.map(alert => `\`${alert}\``),
  );
});
