import type { Registry } from 'prom-client';

const OPENMETRICS = 'application/openmetrics-text';
const OPENMETRICS_CONTENT_TYPE = `${OPENMETRICS}; version=1.0.0; charset=utf-8`;
/** Prometheus lists five. */
const MAX_ENTRIES = 100;

/** What a scraper is answered. */
export interface Exposition {
  readonly contentType: string;
  readonly text: string;
}

/** Every metric as it is now: in OpenMetrics' format for whoever prefers that, else in Prometheus' own. */
export async function expose(
  registry: Pick<Registry, 'contentType' | 'metrics'>,
  accept: string | undefined,
): Promise<Exposition> {
  const text = await registry.metrics();
  if (!prefersOpenMetrics(accept)) return { contentType: registry.contentType, text };
  return { contentType: OPENMETRICS_CONTENT_TYPE, text: toOpenMetrics(text) };
}

/**
 * Whether the `Accept` header puts OpenMetrics before plain text, by quality and then by order, as Prometheus' own library reads
 * it. Any version of it will do: of 0.0.1 and 1.0.0 we use what they have in common.
 */
export function prefersOpenMetrics(accept: string | undefined): boolean {
  const best = { quality: 0, isOpenMetrics: false };
  for (const entry of (accept ?? '').split(',', MAX_ENTRIES)) {
    const [range = '', ...parameters] = entry.split(';').map(part => part.trim().toLowerCase());
    const isOpenMetrics = range === OPENMETRICS;
    if (!isOpenMetrics && !['text/plain', 'text/*', '*/*'].includes(range)) continue;
    const weight = parameters.find(parameter => parameter.startsWith('q='))?.slice(2) ?? '1';
    const quality = Number(weight);
    if (quality > best.quality) Object.assign(best, { quality, isOpenMetrics });
  }
  return best.isOpenMetrics;
}

/**
 * prom-client could write this itself, but a registry of its that does renames every counter for all other registries too
 * (15.1.3). What differs for the metrics that we have: a counter's `_total` belongs to its sample and not to its name, there are
 * no empty lines, and the end is marked. A help text must have no quotation marks, which only OpenMetrics escapes.
 */
export function toOpenMetrics(text: string): string {
  const lines = text.split('\n').filter(line => line !== '');
  return [...lines.map(line => line.replace(/^(# (?:HELP|TYPE) \w+)_total /, '$1 ')), '# EOF', ''].join('\n');
}
