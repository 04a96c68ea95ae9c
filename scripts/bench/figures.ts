import { setTimeout as delay } from 'node:timers/promises';
import { temporaryDirectory } from '../../test/support/cleanup.ts';
import { measureCodec } from './codec.ts';
import { openStandIn, type BenchEngine } from './engines.ts';
import type { Target } from './exec-client.ts';
import type { Job, JobResult } from './jobs.ts';
import { ClientProcess, DaemonProcess } from './processes.ts';
import { summarize, type Metrics, type Result } from './results.ts';
import { percentile } from './statistics.ts';

/** How much of everything is done. */
export interface Effort {
  readonly rounds: number;
  /** Before anything is measured, over each way: what V8 compiles of the code takes thousands of execs. */
  readonly warmUpExecs: number;
  readonly engineExecs: number;
  readonly standInExecs: number;
  /** For each target and round. */
  readonly rateMs: number;
  readonly blocks: number;
  readonly keystrokes: number;
  readonly sessions: readonly number[];
  readonly starts: number;
}

export const FULL: Effort = {
  rounds: 5,
  warmUpExecs: 1_000,
  engineExecs: 20,
  standInExecs: 200,
  rateMs: 2_000,
  blocks: 32_768,
  keystrokes: 1_000,
  sessions: [200, 1_000, 5_000],
  starts: 11,
};

/** To see whether it works, or roughly where one is. */
export const QUICK: Effort = {
  rounds: 1,
  warmUpExecs: 50,
  engineExecs: 5,
  standInExecs: 50,
  rateMs: 500,
  blocks: 2_048,
  keystrokes: 200,
  sessions: [100],
  starts: 1,
};

/** Small frames cost much more a byte, so there are fewer bytes: one part in so many. */
const FRAMES_SHARE = 8;
/** What dockerd writes in one frame. */
const BLOCK_BYTES = 32 * 1024;
/** Where compiled code, filled pools and caches must not count as a session's, or a real Engine takes its time. */
const WARM_UP_EXECS = 100;
const SETTLE_MS = 1_000;
/** Until a daemon that nobody uses counts as idle. */
const IDLE_AFTER_MS = 2_000;

const WAYS = [
  { transport: 'spdy', protocol: 'v4.channel.k8s.io', name: 'SPDY v4' },
  { transport: 'websocket', protocol: 'v4.channel.k8s.io', name: 'WebSocket v4' },
  { transport: 'websocket', protocol: 'v5.channel.k8s.io', name: 'WebSocket v5' },
] as const;

type Progress = (text: string) => void;

/** A daemon without TLS and one with, beside the Engine that both serve, and the client's process. */
class Bench {
  readonly engine: BenchEngine;
  readonly client = new ClientProcess();
  readonly #plain: DaemonProcess;
  readonly #tls: DaemonProcess;

  private constructor(engine: BenchEngine, plain: DaemonProcess, tls: DaemonProcess) {
    this.engine = engine;
    this.#plain = plain;
    this.#tls = tls;
  }

  static async open(engine: BenchEngine, certDir: string): Promise<Bench> {
    const { dockerHost } = engine;
    const plain = await DaemonProcess.start({ dockerHost });
    return new Bench(engine, plain, await DaemonProcess.start({ dockerHost, certDir }));
  }

  /** The Engine itself first, then every way through execlet. */
  get targets(): { name: string; target: Target; daemon: DaemonProcess | undefined }[] {
    const { socketPath, containerId } = this.engine;
    const ways = [this.#plain, this.#tls].flatMap(daemon =>
      WAYS.map(({ transport, protocol, name }) => {
        const tls = daemon === this.#tls;
        const target = { transport, protocol, port: daemon.port, tls };
        return { name: tls ? `${name}, TLS` : name, target, daemon };
      }),
    );
    return [
      { name: 'raw Engine', target: { transport: 'engine', socketPath, containerId }, daemon: undefined },
      ...ways,
    ];
  }

  async warmUp(execs: number): Promise<void> {
    for (const { target } of this.targets) await this.client.perform({ job: 'latency', target, execs });
  }

  async end(): Promise<void> {
    await this.client.end();
    await this.#plain.end();
    await this.#tls.end();
  }
}

/** One figure for every target: in each round each target does the job once. */
interface Comparison {
  /** As `--only` has it. */
  readonly name: 'latency' | 'rate' | 'stdout' | 'stdin' | 'echo';
  readonly figure: string;
  readonly job: (target: Target) => Job;
  /** `cpuMs` is the daemon's for the whole job; undefined for the Engine itself. */
  readonly metrics: (result: JobResult, cpuMs: number | undefined) => Metrics;
}

export function comparisons(effort: Effort, engine: BenchEngine['name']): Comparison[] {
  const { blocks, keystrokes, rateMs } = effort;
  const execs = engine === 'dockerd' ? effort.engineExecs : effort.standInExecs;
  const volume = (job: 'stdout' | 'stdin'): Comparison => ({
    name: job,
    figure: job,
    job: target => ({ job, target, blockBytes: BLOCK_BYTES, blocks }),
    metrics: ({ ms, bytes }, cpuMs) => volumeMetrics({ ms, bytes, cpuMs, expected: blocks * BLOCK_BYTES }),
  });
  const rate = (concurrency: number): Comparison => ({
    name: 'rate',
    figure: `execs at concurrency ${concurrency}`,
    job: target => ({ job: 'rate', target, concurrency, ms: rateMs }),
    metrics: ({ ms, samples }, cpuMs) => ({
      execsPerSecond: (samples.length * 1_000) / ms,
      p99Ms: percentile(samples, 99),
      ...(cpuMs !== undefined && { cpuMsPerExec: cpuMs / samples.length }),
    }),
  });
  return [
    {
      name: 'latency',
      figure: 'exec latency',
      job: target => ({ job: 'latency', target, execs }),
      metrics: ({ samples }, cpuMs) => ({
        ...percentiles(samples),
        ...(cpuMs !== undefined && { cpuMsPerExec: cpuMs / samples.length }),
      }),
    },
    rate(8),
    rate(32),
    volume('stdout'),
    volume('stdin'),
    {
      name: 'echo',
      figure: 'keystroke echo',
      job: target => ({ job: 'echo', target, keystrokes }),
      metrics: ({ samples }, cpuMs) => ({
        p50Ms: percentile(samples, 50),
        p99Ms: percentile(samples, 99),
        ...(cpuMs !== undefined && { cpuUsPerKey: (cpuMs * 1_000) / samples.length }),
      }),
    },
  ];
}

/** All that is compared with the Engine, on one Engine; `wanted` chooses by their names. */
export async function measureOn(
  engine: BenchEngine,
  { effort, wanted, progress }: { effort: Effort; wanted: (name: Comparison['name']) => boolean; progress: Progress },
): Promise<Result[]> {
  const chosen = comparisons(effort, engine.name).filter(({ name }) => wanted(name));
  if (chosen.length === 0) return [];
  const certDir = await temporaryDirectory('bench-cert');
  const bench = await Bench.open(engine, certDir.path);
  try {
    await bench.warmUp(engine.name === 'dockerd' ? Math.min(effort.warmUpExecs, WARM_UP_EXECS) : effort.warmUpExecs);
    const results: Result[] = [];
    for (const comparison of chosen) {
      progress(`${comparison.figure}, ${engine.name}`);
      const rounds: Metrics[][] = [];
      for (let round = 0; round < effort.rounds; round += 1) rounds.push(await measureRound(bench, comparison));
      const summary = summarize(rounds, true);
      results.push(
        ...bench.targets.map(({ name }, column) => ({
          figure: comparison.figure,
          engine: engine.name,
          of: name,
          ...(summary[column] ?? { metrics: {}, ratios: {} }),
        })),
      );
    }
    return results;
  } finally {
    await bench.end();
    await certDir.remove();
  }
}

async function measureRound(bench: Bench, { job, metrics }: Comparison): Promise<Metrics[]> {
  const round: Metrics[] = [];
  let engineP50: number | undefined;
  for (const { target, daemon } of bench.targets) {
    const before = await daemon?.cpuMs();
    const result = await bench.client.perform(job(target));
    const after = await daemon?.cpuMs();
    const cpuMs = before === undefined || after === undefined ? undefined : after - before;
    const measured = metrics(result, cpuMs);
    if (daemon === undefined) engineP50 = measured.p50Ms;
    const above =
      daemon === undefined || engineP50 === undefined || measured.p50Ms === undefined
        ? {}
        : { aboveEngineMs: measured.p50Ms - engineP50 };
    round.push({ ...measured, ...above });
  }
  return round;
}

function percentiles(samples: readonly number[]): Metrics {
  return { p50Ms: percentile(samples, 50), p90Ms: percentile(samples, 90), p99Ms: percentile(samples, 99) };
}

function volumeMetrics(of: { ms: number; bytes: number; cpuMs: number | undefined; expected: number }): Metrics {
  const { ms, bytes, cpuMs, expected } = of;
  if (bytes !== expected) throw new Error(`${bytes} bytes arrived, not ${expected}`);
  return {
    mbPerSecond: bytes / 1_000 / ms,
    ...(cpuMs !== undefined && { cpuSecondsPerGb: cpuMs / 1_000 / (bytes / 1e9) }),
  };
}

/** Memory and sockets of quiet sessions, and what an exec costs beside them. Each transport has a daemon of its own, and each way to look at memory. */
export async function measureSessions({ effort, progress }: { effort: Effort; progress: Progress }): Promise<Result[]> {
  const results: Result[] = [];
  for (const tls of [false, true]) {
    for (const way of WAYS) {
      const name = tls ? `${way.name}, TLS` : way.name;
      progress(`quiet sessions, ${name}`);
      const asTheyAre = await holdSessions({ way, tls, sessions: effort.sessions, collected: false });
      const collected = await holdSessions({ way, tls, sessions: effort.sessions, collected: true });
      for (const [index, sessions] of effort.sessions.entries()) {
        const { kibPerSession = NaN, ...others } = asTheyAre[index] ?? {};
        const kibPerSessionCollected = collected[index]?.kibPerSession ?? NaN;
        const metrics = { ...others, kibPerSession, kibPerSessionCollected };
        results.push({ figure: 'quiet sessions', engine: 'stand-in', of: `${name}, ${sessions}`, metrics, ratios: {} });
      }
    }
  }
  return results;
}

async function holdSessions(of: {
  way: (typeof WAYS)[number];
  tls: boolean;
  sessions: readonly number[];
  collected: boolean;
}): Promise<Metrics[]> {
  const engine = await openStandIn();
  const certDir = await temporaryDirectory('bench-cert');
  const daemon = await DaemonProcess.start({
    dockerHost: engine.dockerHost,
    ...(of.tls && { certDir: certDir.path }),
  });
  const client = new ClientProcess();
  const { transport, protocol } = of.way;
  const target: Target = { transport, protocol, port: daemon.port, tls: of.tls };
  const look = async (): Promise<{ rssKib: number; sockets: number }> => {
    await delay(SETTLE_MS);
    if (of.collected) await daemon.collectGarbage();
    return { rssKib: await daemon.rssKib(), sockets: await daemon.sockets() };
  };
  try {
    await client.perform({ job: 'latency', target, execs: WARM_UP_EXECS });
    const before = await look();
    const measured: Metrics[] = [];
    for (const sessions of of.sessions) {
      await client.perform({ job: 'open', target, sessions });
      const now = await look();
      const cpuBefore = await daemon.cpuMs();
      const { samples } = await client.perform({ job: 'latency', target, execs: WARM_UP_EXECS });
      measured.push({
        kibPerSession: (now.rssKib - before.rssKib) / sessions,
        socketsPerSession: (now.sockets - before.sockets) / sessions,
        p50Ms: percentile(samples, 50),
        cpuMsPerExec: ((await daemon.cpuMs()) - cpuBefore) / samples.length,
      });
    }
    return measured;
  } finally {
    await client.end();
    await daemon.end();
    await engine.end();
    await certDir.remove();
  }
}

/** What an exec costs with so many containers registered. */
export async function measureContainers({
  effort,
  progress,
}: {
  effort: Effort;
  progress: Progress;
}): Promise<Result[]> {
  const results: Result[] = [];
  for (const containers of [10, 100, 1_000]) {
    progress(`${containers} registered containers`);
    const engine = await openStandIn({ containers });
    const daemon = await DaemonProcess.start({ dockerHost: engine.dockerHost });
    const client = new ClientProcess();
    const rounds: Metrics[][] = [];
    for (let round = 0; round <= effort.rounds; round += 1) {
      const measured: Metrics[] = [];
      for (const { transport, protocol } of WAYS) {
        const before = await daemon.cpuMs();
        const target = { transport, protocol, port: daemon.port, tls: false };
        const { samples } = await client.perform({ job: 'latency', target, execs: effort.standInExecs });
        measured.push({
          p50Ms: percentile(samples, 50),
          cpuMsPerExec: ((await daemon.cpuMs()) - before) / samples.length,
        });
      }
      if (round > 0) rounds.push(measured); // the first is the warm-up
    }
    const summary = summarize(rounds, false);
    for (const [column, { name }] of WAYS.entries()) {
      const { metrics = {} } = summary[column] ?? {};
      const of = `${name}, ${containers} containers`;
      results.push({ figure: 'registered containers', engine: 'stand-in', of, metrics, ratios: {} });
    }
    await client.end();
    await daemon.end();
    await engine.end();
  }
  return results;
}

/** Output in frames of other sizes than dockerd's largest. */
export async function measureFrameSizes(
  engine: BenchEngine,
  { effort, progress }: { effort: Effort; progress: Progress },
): Promise<Result[]> {
  const daemon = await DaemonProcess.start({ dockerHost: engine.dockerHost });
  const client = new ClientProcess();
  const results: Result[] = [];
  try {
    for (const blockBytes of [256, 1_024, 4_096, 16_384, BLOCK_BYTES]) {
      progress(`output in frames of ${blockBytes} bytes`);
      const blocks = Math.ceil((effort.blocks * BLOCK_BYTES) / blockBytes / FRAMES_SHARE);
      const rounds: Metrics[][] = [];
      for (let round = 0; round < effort.rounds; round += 1) {
        const measured: Metrics[] = [];
        for (const { transport, protocol } of WAYS) {
          const before = await daemon.cpuMs();
          const target = { transport, protocol, port: daemon.port, tls: false };
          const { ms, bytes } = await client.perform({ job: 'stdout', target, blockBytes, blocks });
          const cpuMs = (await daemon.cpuMs()) - before;
          measured.push(volumeMetrics({ ms, bytes, cpuMs, expected: blockBytes * blocks }));
        }
        rounds.push(measured);
      }
      const summary = summarize(rounds, false);
      for (const [column, { name }] of WAYS.entries()) {
        const { metrics = {} } = summary[column] ?? {};
        results.push({ figure: 'frame size', engine: 'stand-in', of: `${name}, ${blockBytes} B`, metrics, ratios: {} });
      }
    }
    return results;
  } finally {
    await client.end();
    await daemon.end();
  }
}

/** From the start of the process to its ready line, and its memory when nobody has used it. */
export async function measureStart(
  engine: BenchEngine,
  { effort, progress }: { effort: Effort; progress: Progress },
): Promise<Result[]> {
  progress('start to ready');
  const certDir = await temporaryDirectory('bench-cert');
  const { dockerHost } = engine;
  const kinds = [{ dockerHost }, { dockerHost, certDir: certDir.path }];
  const rounds: Metrics[][] = [];
  for (let round = 0; round < effort.starts; round += 1) {
    const measured: Metrics[] = [];
    for (const options of kinds) {
      const daemon = await DaemonProcess.start({ ...options, bare: true });
      await delay(IDLE_AFTER_MS);
      measured.push({ startMs: daemon.startMs, rssMib: (await daemon.rssKib()) / 1_024 });
      await daemon.end();
    }
    rounds.push(measured);
  }
  await certDir.remove();
  const summary = summarize(rounds, false);
  return ['plain', 'TLS'].map((of, column) => {
    const { metrics = {} } = summary[column] ?? {};
    return { figure: 'start', engine: 'stand-in', of, metrics, ratios: {} };
  });
}

export function measureCodecs({ effort, progress }: { effort: Effort; progress: Progress }): Result[] {
  progress('decoder and demultiplexer alone');
  return (['SPDY decoder', 'stdcopy demultiplexer'] as const).flatMap(of =>
    [256, 4_096, BLOCK_BYTES].map(payloadBytes => {
      const rounds = Array.from({ length: effort.rounds }, () => [measureCodec(of, payloadBytes)]);
      const { metrics = {} } = summarize(rounds, false)[0] ?? {};
      return {
        figure: 'codec',
        engine: 'none' as const,
        of: `${of}, frames of ${payloadBytes} B`,
        metrics,
        ratios: {},
      };
    }),
  );
}
