import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EXECLET_METRICS, NODE_METRICS } from '../../support/metric-list.ts';
import { readAlerts, readDashboard } from '../../support/monitoring.ts';

/** What Prometheus adds to each series of a target. */
const TARGET_LABELS = ['job', 'instance'];

/** Every sample name of ours and of Node's, with its labels and their values where these are known. */
const SAMPLES = new Map<string, Readonly<Record<string, readonly string[] | undefined>>>([['up', {}]]);
for (const [name, { type, labels = {} }] of Object.entries(EXECLET_METRICS)) addSamples(name, type, labels);
for (const [name, { type, labels = [] }] of Object.entries(NODE_METRICS)) {
  addSamples(name, type, Object.fromEntries(labels.map(label => [label, undefined])));
}

function addSamples(name: string, type: string, labels: Readonly<Record<string, readonly string[] | undefined>>): void {
  if (type !== 'histogram') {
    SAMPLES.set(name, labels);
    return;
  }
  SAMPLES.set(`${name}_bucket`, { ...labels, le: undefined });
  for (const suffix of ['sum', 'count']) SAMPLES.set(`${name}_${suffix}`, labels);
}

interface Selector {
  readonly name: string;
  readonly matchers: readonly { readonly label: string; readonly operator: string; readonly value: string }[];
}

/** The series that an expression selects, and the labels that it groups or matches by. */
function partsOf(expression: string): { selectors: Selector[]; grouping: string[] } {
  const grouping: string[] = [];
  const rest = expression
    .replaceAll(/\b(?:by|on|ignoring|without) \(([^)]*)\)/g, (_, labels: string) => {
      grouping.push(...labels.split(',').map(label => label.trim()));
      return '';
    })
    .replaceAll(/\[[^\]]*\]/g, '');
  const selectors = [...rest.matchAll(/\b([a-zA-Z_:][\w:]*)\b(?!\s*\()(?:\{([^}]*)\})?/g)]
    .filter(([, name = '']) => !['and', 'or', 'unless'].includes(name))
    .map(([, name = '', matchers = '']) => ({
      name,
      matchers: [...matchers.matchAll(/(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"/g)].map(
        ([, label = '', operator = '', value = '']) => ({
          label,
          operator,
          value,
        }),
      ),
    }));
  return { selectors, grouping };
}

/** What is wrong with an expression. */
function problemsOf(expression: string): string[] {
  const { selectors, grouping } = partsOf(expression);
  const problems: string[] = selectors.length === 0 ? ['it selects nothing'] : [];
  const known = new Set(TARGET_LABELS);
  for (const { name, matchers } of selectors) {
    const labels = SAMPLES.get(name);
    if (labels === undefined) {
      problems.push(`there is no ${name}`);
      continue;
    }
    for (const label of Object.keys(labels)) known.add(label);
    for (const { label, value } of matchers) {
      if (TARGET_LABELS.includes(label)) continue;
      if (!(label in labels)) problems.push(`${name} has no label ${label}`);
      for (const alternative of value.split('|')) {
        if (labels[label]?.includes(alternative) === false)
          problems.push(`${name} never has ${label}="${alternative}"`);
      }
    }
  }
  for (const label of grouping) if (!known.has(label)) problems.push(`nothing in it has the label ${label}`);
  return problems;
}

test('this test sees what is wrong with an expression', () => {
  assert.deepEqual(problemsOf('sum by (reason) (rate(execlet_sessions_total{reason=~"exit|idle"}[5m])) > 0'), []);
  for (const [expression, problem] of [
    ['1 > 0', 'it selects nothing'],
    ['execlet_engine', 'there is no execlet_engine'],
    ['execlet_session_setup_seconds', 'there is no execlet_session_setup_seconds'],
    ['rate(execlet_sessions_total{why="exit"}[5m])', 'execlet_sessions_total has no label why'],
    ['rate(execlet_sessions_total{reason=~"exit|bored"}[5m])', 'execlet_sessions_total never has reason="bored"'],
    ['sum by (phase) (execlet_sessions_total)', 'nothing in it has the label phase'],
    ['up == 0 and on (job) execlet_nothing', 'there is no execlet_nothing'],
  ] as const) {
    assert.deepEqual(problemsOf(expression), [problem], expression);
  }
});

test('the dashboard asks for what there is', async () => {
  const { panels, templating } = await readDashboard();
  const variables = new Set(templating.list.map(({ name }) => name));
  assert.ok(panels.length > 20);
  for (const { title, type, targets } of panels) {
    assert.equal(targets.length > 0, type !== 'row', title);
    for (const { expr } of targets) {
      assert.deepEqual(problemsOf(expr), [], `${title}: ${expr}`);
      for (const [, variable = ''] of expr.matchAll(/\$(\w+)/g)) {
        assert.ok(variable === '__rate_interval' || variables.has(variable), `${title}: $${variable}`);
      }
      // Each of its series can be chosen by job and instance.
      const { selectors } = partsOf(expr);
      for (const { name, matchers } of selectors) {
        assert.deepEqual(
          matchers.slice(0, 2).map(({ label }) => label),
          TARGET_LABELS,
          `${title}: ${name}`,
        );
      }
    }
    for (const { expr, legendFormat } of targets) {
      const { selectors } = partsOf(expr);
      for (const [, label = ''] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
        const has = selectors.some(({ name }) => TARGET_LABELS.includes(label) || label in (SAMPLES.get(name) ?? {}));
        assert.ok(has, `${title}: ${label}`);
      }
    }
  }
});

test('no panel of the dashboard lies on another', async () => {
  const { panels } = await readDashboard();
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  const taken = new Map<string, string>();
  for (const {
    title,
    gridPos: { x, y, w, h },
  } of panels) {
    assert.ok(x >= 0 && x + w <= 24, title);
    for (let column = x; column < x + w; column += 1) {
      for (let line = y; line < y + h; line += 1) {
        const cell = `${column},${line}`;
        assert.equal(taken.get(cell), undefined, `${title} lies on ${taken.get(cell) ?? ''}`);
        taken.set(cell, title);
      }
    }
  }
});

test('each alert asks for what there is, and says where it is and what to do', async () => {
  const alerts = await readAlerts();
  assert.equal(new Set(alerts.map(({ alert }) => alert)).size, alerts.length);
  for (const { alert, expr, annotations } of alerts) {
    assert.match(alert, /^Execlet[A-Z]\w+$/);
    assert.deepEqual(problemsOf(expr), [], alert);
    assert.match(annotations.summary, /\{\{ \$labels\.instance \}\}/, alert);
    assert.match(annotations.description, /\.$/, alert);
    const { selectors, grouping } = partsOf(expr);
    for (const [, label = ''] of Object.values(annotations)
      .join(' ')
      .matchAll(/\$labels\.(\w+)/g)) {
      // What an aggregation keeps, or else what the series have.
      const kept = expr.includes('sum by')
        ? grouping
        : [...TARGET_LABELS, ...selectors.flatMap(({ name }) => Object.keys(SAMPLES.get(name) ?? {}))];
      assert.ok(kept.includes(label), `${alert}: ${label}`);
    }
  }
});
