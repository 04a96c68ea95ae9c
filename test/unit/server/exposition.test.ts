import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { expose, prefersOpenMetrics, toOpenMetrics } from '../../../src/server/exposition.ts';

const PROMETHEUS_2 =
  'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,' +
  'text/plain;version=0.0.4;q=0.5,*/*;q=0.1';
const PROMETHEUS_3 =
  'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,' +
  'text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2';

test('OpenMetrics is for whoever puts it before plain text', () => {
  for (const accept of [
    PROMETHEUS_2,
    PROMETHEUS_3,
    'application/openmetrics-text',
    'Application/OpenMetrics-Text; version=1.0.0; charset=utf-8',
    'text/plain;q=0.5, application/openmetrics-text; q=0.6',
    'application/openmetrics-text, text/plain',
    'application/json, application/openmetrics-text;q=0.1',
  ]) {
    assert.equal(prefersOpenMetrics(accept), true, accept);
  }
  for (const accept of [
    undefined,
    '',
    '*/*',
    'text/*',
    'text/plain, application/openmetrics-text',
    'text/plain;version=0.0.4;q=0.5, application/openmetrics-text;q=0.4',
    '*/*;q=0.9, application/openmetrics-text;q=0.8',
    'application/openmetrics-text;q=0',
    'application/openmetrics-text;q=x',
    'application/openmetrics-texts',
    'application/json',
    `${'text/html,'.repeat(100)}application/openmetrics-text`,
  ]) {
    assert.equal(prefersOpenMetrics(accept), false, accept);
  }
});

test('either format, of the same metrics, in any order', async () => {
  const registry = new Registry();
  const registers = [registry];
  new Counter({ name: 'a_seconds_total', help: 'Of a \\ and\nb.', labelNames: ['b'], registers }).inc(
    { b: '\n# "' },
    2,
  );
  new Gauge({ name: 'total_things', help: 'Things in total .', registers }).set(3);
  new Histogram({ name: 'c_seconds', help: 'C.', buckets: [0.5], registers }).observe(1);
  const plain = `# HELP a_seconds_total Of a \\\\ and\\nb.
# TYPE a_seconds_total counter
a_seconds_total{b="\\n# \\""} 2

# HELP total_things Things in total .
# TYPE total_things gauge
total_things 3

# HELP c_seconds C.
# TYPE c_seconds histogram
c_seconds_bucket{le="0.5"} 0
c_seconds_bucket{le="+Inf"} 1
c_seconds_sum 1
c_seconds_count 1
`;
  const openMetrics = `# HELP a_seconds Of a \\\\ and\\nb.
# TYPE a_seconds counter
a_seconds_total{b="\\n# \\""} 2
# HELP total_things Things in total .
# TYPE total_things gauge
total_things 3
# HELP c_seconds C.
# TYPE c_seconds histogram
c_seconds_bucket{le="0.5"} 0
c_seconds_bucket{le="+Inf"} 1
c_seconds_sum 1
c_seconds_count 1
# EOF
`;
  for (const [accept, contentType, text] of [
    [PROMETHEUS_2, 'application/openmetrics-text; version=1.0.0; charset=utf-8', openMetrics],
    [undefined, 'text/plain; version=0.0.4; charset=utf-8', plain],
    [PROMETHEUS_3, 'application/openmetrics-text; version=1.0.0; charset=utf-8', openMetrics],
  ]) {
    assert.deepEqual(await expose(registry, accept), { contentType, text });
  }
  assert.equal(toOpenMetrics(''), '# EOF\n');
});
