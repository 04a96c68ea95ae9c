/** One line of a scrape. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What a scrape says of one metric; a histogram's samples are named after it with `_bucket`, `_sum` and `_count`. */
export interface ScrapedMetric {
  readonly type: string;
  readonly help: string;
  readonly samples: readonly Sample[];
}

/** Reads Prometheus' text format, strictly: each metric stands together, behind its help and its type. */
export function parseScrape(text: string): Map<string, ScrapedMetric> {
  const metrics = new Map<string, ScrapedMetric & { readonly samples: Sample[] }>();
  for (const block of text.split(/\n+(?=# HELP )/)) {
    const [help = '', type = '', ...samples] = block.trim().split('\n');
    const [, name = '', helpText = ''] = /^# HELP (\w+) (.+)$/.exec(help) ?? [];
    const [, typeOf = '', typeName = ''] = /^# TYPE (\w+) (\w+)$/.exec(type) ?? [];
    if (name === '' || typeOf !== name || metrics.has(name)) throw new Error(`no metric: ${block}`);
    metrics.set(name, { type: typeName, help: helpText, samples: samples.map(sample => sampleOf(sample, name)) });
  }
  return metrics;
}

/** The value of the one sample that has these labels, perhaps among others. */
export function valueIn(
  metrics: ReadonlyMap<string, ScrapedMetric>,
  sample: string,
  labels: Readonly<Record<string, string>> = {},
): number {
  const metric = metrics.get(sample) ?? metrics.get(sample.replace(/_(bucket|sum|count)$/, ''));
  const [found, another] = (metric?.samples ?? []).filter(
    ({ name, labels: its }) =>
      name === sample && Object.entries(labels).every(([label, value]) => its[label] === value),
  );
  if (found === undefined) throw new Error(`no sample ${sample} ${JSON.stringify(labels)}`);
  if (another !== undefined) throw new Error(`more than one sample ${sample} ${JSON.stringify(labels)}`);
  return found.value;
}

function sampleOf(line: string, metric: string): Sample {
  const [, name = '', labelText = '', valueText = ''] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
  if (!name.startsWith(metric)) throw new Error(`no sample of ${metric}: ${line}`);
  const labels: Record<string, string> = {};
  for (const [, label = '', value = ''] of labelText.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
    labels[label] = value.replaceAll(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
  }
  return { name, labels, value: Number(valueText.replace('+Inf', 'Infinity')) };
}
