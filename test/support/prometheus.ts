import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { stringify } from 'yaml';
import { z } from 'zod';
import { leaveToJanitor, temporaryDirectory } from './cleanup.ts';
import { findExecutable, isExecutable, mustRun, runCommand } from './command.ts';
import { isDebian, unpackPackage } from './debian.ts';

const START_TIMEOUT_MS = 30_000;
const QUERY_TIMEOUT_MS = 10_000;
const POLL_MS = 250;

const vector = z.object({
  status: z.literal('success'),
  data: z.object({
    resultType: z.literal('vector'),
    result: z.array(z.object({ metric: z.record(z.string(), z.string()), value: z.tuple([z.number(), z.string()]) })),
  }),
});
const targets = z.object({
  data: z.object({
    activeTargets: z.array(z.object({ health: z.string(), lastError: z.string(), scrapeUrl: z.string() })),
  }),
});
const alerts = z.object({
  data: z.object({
    alerts: z.array(
      z.object({
        state: z.enum(['pending', 'firing']),
        labels: z.record(z.string(), z.string()),
        annotations: z.record(z.string(), z.string()),
      }),
    ),
  }),
});

/** One series of an answer. */
export interface Series {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** An alert that is pending or firing, with its annotations filled in. */
export type ActiveAlert = z.infer<typeof alerts>['data']['alerts'][number];

/** Prometheus' programs: those on PATH, else Debian's, which are downloaded into `.cache/` and not installed. */
export interface PrometheusPrograms {
  readonly prometheus: string;
  readonly promtool: string;
}

/** @throws where there are none, with what to do */
export async function findPrometheus(): Promise<PrometheusPrograms> {
  const [prometheus, promtool] = await Promise.all([findExecutable('prometheus'), findExecutable('promtool')]);
  if (prometheus !== undefined && promtool !== undefined) return { prometheus, promtool };
  try {
    if (!(await isDebian())) throw new Error('Only on Debian can the tests fetch it by themselves.');
    const directory = join(await unpackPackage('prometheus', 'bookworm'), 'usr', 'bin');
    const unpacked = { prometheus: join(directory, 'prometheus'), promtool: join(directory, 'promtool') };
    if (!(await isExecutable(unpacked.prometheus))) throw new Error('The package holds no prometheus.');
    return unpacked;
  } catch (cause) {
    throw new Error('The tests need Prometheus. Put prometheus and promtool on PATH.', { cause });
  }
}

/** What promtool finds wrong with a scrape, its advice too; empty where that is nothing. */
export async function lintScrape({ promtool }: PrometheusPrograms, text: string): Promise<string> {
  const { exitCode, stdout, stderr } = await runCommand(promtool, ['check', 'metrics'], { stdin: text });
  const said = `${stdout.toString()}${stderr}`;
  return exitCode === 0 ? said : `exit code ${exitCode}\n${said}`;
}

/** Rejects with what promtool says where the rules are not valid. */
export async function checkRules({ promtool }: PrometheusPrograms, file: string): Promise<void> {
  await mustRun(promtool, ['check', 'rules', '--lint-fatal', file]);
}

export interface PrometheusOptions {
  readonly programs: PrometheusPrograms;
  /** As in its configuration. */
  readonly scrapeConfigs: readonly Readonly<Record<string, unknown>>[];
  /** The text of a file of rules. */
  readonly rules: string;
}

/** A Prometheus of our own, which scrapes and evaluates its rules each second and keeps everything in a temporary directory. */
export class Prometheus {
  readonly #url: string;
  readonly #child: ChildProcess;
  readonly #forget: () => void;
  readonly #log: string[];

  private constructor(of: { url: string; child: ChildProcess; forget: () => void; log: string[] }) {
    this.#url = of.url;
    this.#child = of.child;
    this.#forget = of.forget;
    this.#log = of.log;
  }

  /** Resolves when it answers. */
  static async start({ programs, scrapeConfigs, rules }: PrometheusOptions): Promise<Prometheus> {
    const { path } = await temporaryDirectory('prometheus');
    await mkdir(join(path, 'data'));
    await writeFile(join(path, 'rules.yml'), rules);
    const config = {
      global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
      rule_files: ['rules.yml'],
      scrape_configs: scrapeConfigs,
    };
    await writeFile(join(path, 'prometheus.yml'), stringify(config));
    const child = spawn(
      programs.prometheus,
      [
        `--config.file=${join(path, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(path, 'data')}`,
        '--web.listen-address=127.0.0.1:0',
        '--log.format=json',
      ],
      { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: process.env.PATH } },
    );
    const { pid, stderr } = child;
    if (pid === undefined) throw new Error(`${programs.prometheus} could not be started`);
    const forget = leaveToJanitor({ kind: 'process', pid });
    const log: string[] = [];
    const { promise: listening, resolve, reject } = Promise.withResolvers<string>();
    createInterface({ input: stderr }).on('line', line => {
      log.push(line);
      // Its log alone knows the port. Newer versions write `Listening on` twice, once with the port that was asked for.
      const [, address] = /"(127\.0\.0\.1:[1-9]\d*)"/.exec(line) ?? [];
      if (line.includes('"Listening on"') && address !== undefined) resolve(`http://${address}`);
    });
    child.on('exit', () => reject(new Error(`Prometheus has ended:\n${log.slice(-10).join('\n')}`)));
    const timer = setTimeout(
      () => reject(new Error(`Prometheus does not listen:\n${log.join('\n')}`)),
      START_TIMEOUT_MS,
    );
    const url = await listening.finally(() => clearTimeout(timer));
    const prometheus = new Prometheus({ url, child, forget, log });
    await prometheus.until(START_TIMEOUT_MS, 'be ready', async () => (await fetch(`${url}/-/ready`)).ok || undefined);
    return prometheus;
  }

  /** What an expression is now. */
  async query(expression: string): Promise<Series[]> {
    const { data } = vector.parse(
      await this.#get(`/api/v1/query?${new URLSearchParams({ query: expression }).toString()}`),
    );
    return data.result.map(({ metric, value: [, value] }) => ({ labels: metric, value: Number(value) }));
  }

  async alerts(): Promise<ActiveAlert[]> {
    return alerts.parse(await this.#get('/api/v1/alerts')).data.alerts;
  }

  /** Resolves with the first alert that fires and has these labels, perhaps among others. */
  async untilFiring(labels: Readonly<Record<string, string>>, timeoutMs: number): Promise<ActiveAlert> {
    const hasThem = ({ labels: its }: ActiveAlert): boolean =>
      Object.entries(labels).every(([label, value]) => its[label] === value);
    return this.until(timeoutMs, `raise ${JSON.stringify(labels)}`, async () =>
      (await this.alerts()).find(alert => alert.state === 'firing' && hasThem(alert)),
    );
  }

  /** Resolves when it has scraped every target. */
  async untilHealthy(timeoutMs: number): Promise<void> {
    let problems: string[] = [];
    const isHealthy = this.until(timeoutMs, 'scrape every target', async () => {
      const { activeTargets } = targets.parse(await this.#get('/api/v1/targets')).data;
      const unhealthy = activeTargets.filter(({ health }) => health !== 'up');
      problems = unhealthy.map(({ scrapeUrl, health, lastError }) => `${scrapeUrl}: ${health} ${lastError}`);
      // It takes some seconds until it has any.
      return (activeTargets.length > 0 && problems.length === 0) || undefined;
    });
    await isHealthy.catch((cause: unknown) => {
      throw new Error(problems.join('\n'), { cause });
    });
  }

  /** Asks until there is an answer, and resolves with it. Rejects after the time-out, with what was to happen. */
  async until<T>(timeoutMs: number, what: string, ask: () => Promise<T | undefined>): Promise<T> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const answer = await ask();
      if (answer !== undefined) return answer;
      if (Date.now() > deadline) {
        throw new Error(`Prometheus did not ${what} within ${timeoutMs} ms:\n${this.#log.slice(-10).join('\n')}`);
      }
      await delay(POLL_MS); // its API has nothing to wait for
    }
  }

  async stop(): Promise<void> {
    const exited =
      this.#child.exitCode === null && this.#child.signalCode === null ? once(this.#child, 'exit') : undefined;
    this.#child.kill('SIGTERM');
    await exited;
    this.#forget();
  }

  async #get(path: string): Promise<unknown> {
    const response = await fetch(`${this.#url}${path}`, { signal: AbortSignal.timeout(QUERY_TIMEOUT_MS) });
    if (!response.ok) throw new Error(`Prometheus answers ${response.status} to ${path}: ${await response.text()}`);
    return response.json();
  }
}
