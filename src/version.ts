import { readFileSync } from 'node:fs';

/** execlet's own version: package.json, one folder above both src/ and dist/, is the one place that says it. */
export const VERSION = readVersion();

function readVersion(): string {
  const packageJson: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  if (typeof packageJson === 'object' && packageJson !== null && 'version' in packageJson)
    return String(packageJson.version);
  throw new Error('package.json has no version');
}
