import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { temporaryDirectory } from '../test/support/cleanup.ts';
import { kubernetesLabels, type TestContainer } from '../test/support/containers.ts';
import { Daemon } from '../test/support/daemon.ts';
import { startTestEngine, type TestEngine } from '../test/support/engine.ts';
import { readQuietUsage, readUsage, reportingEnv, type Sample, type Usage } from './soak/daemon-usage.ts';
import { keptExecs, type KeptExec } from './soak/engine-execs.ts';
import { playSession } from './soak/play.ts';
import { Random } from '../test/support/random.ts';
import { planHello, planSession, PROTOCOLS, RESTARTED_POD, STEADY_PODS } from './soak/session-plan.ts';
import { makeSourceBytes, putSourceBytes } from './soak/source-bytes.ts';
import { describeFindings, failuresOf, slopesOf, type Findings } from './soak/summary.ts';
import { Tally } from './soak/tally.ts';

// `npm run soak -- MINUTES`: random sessions against a daemon of its own, each checked to the last byte. See docs/soak.md.

const USAGE = 'usage: npm run soak -- [MINUTES] [--seed N] [--concurrency N] [--session N] [--json]';
const SAMPLE_INTERVAL_MS = 2_000;
const PROGRESS_INTERVAL_MS = 10_000;
/** For the daemon to let go of the last clients: those that do not close are given 30 s. */
const SETTLE_TIMEOUT_MS = 45_000;

const options = readOptions();
const startedAt = Date.now();
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
const tally = new Tally(options.seed);
const samples: Sample[] = [];

note(`seed ${options.seed}; setting up an Engine, containers and execlet`);
const engine = await startTestEngine();
const directory = await temporaryDirectory('soak-report');
try {
  const findings = await soak(engine, join(directory.path, 'report.sock'));
  const table = describeFindings(findings);
  if (options.json) note(`\n${table}`);
  process.stdout.write(`${options.json ? JSON.stringify(findings) : table}\n`);
  process.exitCode = findings.failures.length === 0 ? 0 : 1;
} finally {
  await directory.remove();
  await engine.stop();
}

async function soak(testEngine: TestEngine, reportSocket: string): Promise<Findings> {
  const create = (pod: string): Promise<TestContainer> =>
    testEngine.createContainer({ labels: kubernetesLabels({ namespace: 'default', pod, container: 'app' }) });
  const steady = await Promise.all(STEADY_PODS.map(create));
  const restarted = await create(RESTARTED_POD);
  const source = makeSourceBytes(options.seed);
  await putSourceBytes(source, [...steady, restarted]);
  const daemon = await Daemon.start({ engine: testEngine, env: reportingEnv(reportSocket) });
  let exitedEarly: number | undefined;
  void daemon.exited.then(exitCode => {
    exitedEarly = exitCode;
    stop.abort();
  });

  // One session of each protocol first: what is made once, at its first use, is no leak.
  for (const protocol of PROTOCOLS) await playSession(planHello(protocol), daemon.port);
  const before = await readQuietUsage(daemon.pid, reportSocket, 'most');
  const execsBefore = (await keptExecs(testEngine, steady)).length;

  note(`running for ${options.minutes} minutes, ${options.concurrency} sessions at a time`);
  const beganAt = Date.now();
  const timeIsUp = setTimeout(() => stop.abort(), options.minutes * 60_000);
  const sample = async (): Promise<void> => {
    const usage = await readUsage(daemon.pid, reportSocket);
    samples.push({ ...usage, minutes: (Date.now() - beganAt) / 60_000 });
  };
  let next = 0;
  const worker = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const number = options.session ?? next++;
      await tally.run(planSession(options.seed, number, source), daemon.port);
    }
  };
  let restarts = 0;
  const background = [
    every(SAMPLE_INTERVAL_MS, sample),
    every(PROGRESS_INTERVAL_MS, () => progress(samples.at(-1))),
    restartNowAndThen(restarted, () => (restarts += 1)),
  ];
  await Promise.all(Array.from({ length: options.concurrency }, worker));
  clearTimeout(timeIsUp);
  await Promise.all(background);
  const minutes = (Date.now() - beganAt) / 60_000;

  const daemonErrors = exitedEarly === undefined ? [] : [`the daemon ended with ${exitedEarly}${daemon.stderrTail()}`];
  let after = before;
  let kept: KeptExec[] = [];
  if (exitedEarly === undefined) {
    note('all sessions are over; waiting for what they hold');
    ({ after, kept } = await settle(testEngine, steady, { daemon, reportSocket, before }));
    await daemon.stop();
  }
  daemonErrors.push(
    ...daemon.log
      .filter(({ level }) => level === 'error')
      .map(({ message, error }) => `logged: ${message} (${String(error)})`),
  );
  const started = daemon.log.filter(({ message }) => message === 'session started').length;
  // Their clients left while the Engine was creating them.
  const saidToBeLeft = new Set(
    daemon.log.filter(({ message }) => message === 'an exec is left in the Engine').map(({ exec }) => exec),
  );
  const isAccountedFor = ({ id, running }: KeptExec): boolean => !running && saidToBeLeft.has(id);
  const found = {
    seed: options.seed,
    minutes,
    concurrency: options.concurrency,
    ...tally.counts(),
    containerRestarts: restarts,
    slopes: slopesOf(samples, minutes),
    leftBehind: {
      fds: after.fds - before.fds,
      sockets: after.sockets - before.sockets,
      timers: after.timers - before.timers,
      execs: kept.filter(exec => !isAccountedFor(exec)).length - execsBefore,
      sessions: started - daemon.sessionsEnded().length,
    },
    neverStarted: kept.filter(isAccountedFor).length,
    keptExecs: kept.filter(exec => !isAccountedFor(exec)),
    rssKib: { before: before.rssKib, most: Math.max(...samples.map(({ rssKib }) => rssKib)), after: after.rssKib },
    usedKib: { before: before.usedKib, most: Math.max(...samples.map(({ usedKib }) => usedKib)), after: after.usedKib },
    daemonErrors,
  };
  return { ...found, failures: failuresOf(found) };
}

/** Waits until the daemon holds no more than before and no exec runs, at most SETTLE_TIMEOUT_MS. */
async function settle(
  testEngine: TestEngine,
  steady: readonly TestContainer[],
  of: { daemon: Daemon; reportSocket: string; before: Usage },
): Promise<{ after: Usage; kept: KeptExec[] }> {
  const deadline = Date.now() + SETTLE_TIMEOUT_MS;
  for (;;) {
    const after = await readQuietUsage(of.daemon.pid, of.reportSocket, 'least');
    const kept = await keptExecs(testEngine, steady);
    const settled =
      after.fds <= of.before.fds &&
      after.sockets <= of.before.sockets &&
      after.timers <= of.before.timers &&
      !kept.some(({ running }) => running); // one that was never started stays for ever
    if (settled || Date.now() > deadline) return { after, kept };
  }
}

/** At random times, so that sessions are met at every stage. */
async function restartNowAndThen(container: TestContainer, restarted: () => void): Promise<void> {
  const random = new Random(options.seed);
  for (;;) {
    await delay(random.integer(3_000, 8_000), undefined, { signal: stop.signal }).catch(() => undefined);
    if (stop.signal.aborted) return;
    await container.docker.restart({ t: random.integer(0, 1) });
    restarted();
  }
}

async function every(intervalMs: number, task: () => Promise<void> | void): Promise<void> {
  for (;;) {
    await delay(intervalMs, undefined, { signal: stop.signal }).catch(() => undefined);
    if (stop.signal.aborted) return;
    await task();
  }
}

function progress(latest: Sample | undefined): void {
  const { sessions, bytesRelayed, mismatches } = tally.counts();
  note(
    `${sessions} sessions, ${(bytesRelayed / 1e6).toFixed(0)} MB relayed, ${mismatches} mismatches, ` +
      `daemon RSS ${latest?.rssKib ?? 0} KiB, ${latest?.usedKib ?? 0} in use, ${latest?.fds ?? 0} fds, ${latest?.timers ?? 0} timers`,
  );
}

function note(text: string): void {
  process.stderr.write(`[${((Date.now() - startedAt) / 1000).toFixed(0).padStart(5)} s] ${text}\n`);
}

interface Options {
  readonly minutes: number;
  readonly seed: number;
  readonly concurrency: number;
  /** Runs this one session again and again. */
  readonly session: number | undefined;
  readonly json: boolean;
}

/** Ends the process with 2 and one line where an argument is wrong. */
function readOptions(): Options {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        seed: { type: 'string' },
        concurrency: { type: 'string', default: '8' },
        session: { type: 'string' },
        json: { type: 'boolean', default: false },
      },
    });
    const [minutes = '1', ...more] = positionals;
    if (more.length > 0) throw new Error(`unexpected argument ${more.join(' ')}`);
    const time = Number(minutes);
    if (minutes.trim() === '' || !(time > 0 && time <= 24 * 60)) {
      throw new Error(`MINUTES must be more than 0 and at most 1440, not ${minutes}`);
    }
    return {
      minutes: time,
      seed: wholeNumber('--seed', values.seed ?? String(Math.floor(Math.random() * 2 ** 31)), 0, 2 ** 32 - 1),
      concurrency: wholeNumber('--concurrency', values.concurrency, 1, 256),
      session: values.session === undefined ? undefined : wholeNumber('--session', values.session, 0, 2 ** 31),
      json: values.json,
    };
  } catch (cause) {
    process.stderr.write(`soak: ${cause instanceof Error ? cause.message : String(cause)}; ${USAGE}\n`);
    process.exit(2);
  }
}

function wholeNumber(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least && value <= most) return value;
  throw new Error(`${name} must be a whole number from ${least} to ${most}, not ${text}`);
}
