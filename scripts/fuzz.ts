// npm run fuzz [-- --minutes N] [--only NAME] [--seed N] [--grow]: see CONTRIBUTING.md, "Fuzzing". Exits 1 when something failed.
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fuzz } from '../test/fuzz/fuzzer.ts';
import { Random } from '../test/support/random.ts';
import { TARGETS } from '../test/fuzz/targets.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '1' },
    only: { type: 'string', multiple: true },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    grow: { type: 'boolean', default: false },
  },
});
const minutes = Number(values.minutes);
const seed = Number(values.seed);
const targets = TARGETS.filter(({ name }) => values.only?.includes(name) ?? true);

if (!(minutes > 0) || !Number.isInteger(seed) || targets.length === 0) {
  process.stderr.write(
    'usage: npm run fuzz -- [--minutes N] [--only NAME]... [--seed N] [--grow]\n' +
      `names: ${TARGETS.map(({ name }) => name).join(' ')}\n`,
  );
  process.exitCode = 2;
} else {
  const stopping = new AbortController();
  process.once('SIGINT', () => stopping.abort()).once('SIGTERM', () => stopping.abort());
  const report = (line: string): void => void process.stdout.write(`${line}\n`);
  report(`${targets.length} targets, ${minutes} min, seed ${seed}`);
  const { executions, crashes } = await fuzz({
    targets,
    durationMs: minutes * 60_000,
    random: new Random(seed),
    signal: stopping.signal,
    root: join(import.meta.dirname, '..', 'test', 'fuzz'),
    grow: values.grow,
    report,
  });
  const found = crashes.length === 0 ? 'nothing failed' : `${crashes.length} failed:\n${crashes.join('\n')}`;
  report(`${executions} executions, ${found}`);
  if (crashes.length > 0) process.exitCode = 1;
}
