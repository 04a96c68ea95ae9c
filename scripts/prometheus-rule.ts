// Writes the alerts of deploy/monitoring/prometheus-rules.yaml as a resource of Prometheus' operator, beside it.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const HEAD = `# Written by scripts/prometheus-rule.ts from prometheus-rules.yaml.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: execlet
  namespace: execlet
spec:
`;

const directory = join(import.meta.dirname, '..', 'deploy', 'monitoring');
const rules = await readFile(join(directory, 'prometheus-rules.yaml'), 'utf8');
const groups = rules.slice(rules.indexOf('groups:'));
await writeFile(join(directory, 'prometheus-rule.yaml'), HEAD + groups.replaceAll(/^(?=.)/gm, '  '));
