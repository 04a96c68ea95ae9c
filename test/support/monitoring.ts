import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { CHECKOUT } from './checkout.ts';

const DIRECTORY = join(CHECKOUT, 'deploy', 'monitoring');
export const RULES_FILE = join(DIRECTORY, 'prometheus-rules.yaml');

const target = z.object({ expr: z.string(), legendFormat: z.string(), refId: z.string() });
const panel = z.looseObject({
  id: z.int(),
  type: z.string(),
  title: z.string(),
  gridPos: z.object({ x: z.int(), y: z.int(), w: z.int(), h: z.int() }),
  targets: z.array(target).default([]),
});
const dashboard = z.looseObject({
  title: z.string(),
  panels: z.array(panel),
  templating: z.object({ list: z.array(z.looseObject({ name: z.string(), type: z.string() })) }),
});
const rule = z.strictObject({
  alert: z.string(),
  expr: z.string(),
  for: z.string().optional(),
  labels: z.strictObject({ severity: z.enum(['warning', 'critical']) }),
  annotations: z.strictObject({ summary: z.string(), description: z.string() }),
});
const ruleFile = z.object({ groups: z.array(z.object({ name: z.string(), rules: z.array(rule) })) });

/** The dashboard in `deploy/`. */
export async function readDashboard(): Promise<z.infer<typeof dashboard>> {
  return dashboard.parse(JSON.parse(await readFile(join(DIRECTORY, 'grafana-dashboard.json'), 'utf8')));
}

/** The alerts in `deploy/`. */
export async function readAlerts(): Promise<z.infer<typeof rule>[]> {
  const { groups } = ruleFile.parse(parse(await readFile(RULES_FILE, 'utf8')));
  return groups.flatMap(({ rules }) => rules);
}
