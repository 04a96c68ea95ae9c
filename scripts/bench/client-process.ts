import { EngineClient } from './engine-client.ts';
import { ECHO, QUIET, sink, source, sunkBlocks, TRUE } from './commands.ts';
import type { AskedExec, ExecClient, ExecListener, OpenExec, Target } from './exec-client.ts';
import type { Job, JobResult } from './jobs.ts';
import { SpdyClient } from './spdy-client.ts';
import { WebSocketClient } from './websocket-client.ts';

// A process of its own: does one job of its parent after the other.

/** Sessions that are opened side by side. */
const OPENING = 16;
const NOTHING: ExecListener = {
  stdout: () => undefined,
  stderr: () => undefined,
  drained: () => undefined,
  ended: () => undefined,
};

const clients = new Map<string, ExecClient>();
const quiet: OpenExec[] = [];

process.on('message', (job: Job) => {
  perform(job).then(
    result => process.send?.({ result }),
    (cause: unknown) =>
      process.send?.({ error: cause instanceof Error ? (cause.stack ?? cause.message) : String(cause) }),
  );
});

async function perform(job: Job): Promise<JobResult> {
  const result = { ms: 0, samples: [] as number[], bytes: 0 };
  const beganAt = performance.now();
  switch (job.job) {
    case 'latency':
      for (let exec = 0; exec < job.execs; exec += 1) result.samples.push(await timed(() => runTrue(job.target)));
      break;
    case 'rate': {
      const worker = async (): Promise<void> => {
        while (performance.now() - beganAt < job.ms) result.samples.push(await timed(() => runTrue(job.target)));
      };
      await Promise.all(Array.from({ length: job.concurrency }, worker));
      break;
    }
    case 'stdout':
      result.bytes = await readAll(job.target, source(job.blockBytes, job.blocks));
      break;
    case 'stdin':
      result.bytes = await writeAll(job.target, job);
      break;
    case 'echo':
      result.samples = await typeKeys(job.target, job.keystrokes);
      break;
    case 'open':
      await openQuiet(job.target, job.sessions);
      break;
    case 'close':
      for (const exec of quiet.splice(0)) exec.close();
  }
  return { ...result, ms: performance.now() - beganAt };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const beganAt = performance.now();
  await work();
  return performance.now() - beganAt;
}

async function runTrue(target: Target): Promise<void> {
  await run(target, { command: TRUE, stdin: false, tty: false }, {}).ended;
}

async function readAll(target: Target, command: readonly string[]): Promise<number> {
  let bytes = 0;
  await run(target, { command, stdin: false, tty: false }, { stdout: chunk => (bytes += chunk.length) }).ended;
  return bytes;
}

async function writeAll(
  target: Target,
  { blockBytes, blocks }: { blockBytes: number; blocks: number },
): Promise<number> {
  const block = Buffer.alloc(blockBytes);
  let stderr = '';
  let blocksLeft = blocks;
  const more = (exec: OpenExec): void => {
    while (blocksLeft > 0) {
      blocksLeft -= 1;
      if (!exec.write(block)) return;
    }
  };
  const asked = { command: sink(blockBytes, blocks), stdin: true, tty: false };
  const { opened, ended } = run(target, asked, {
    stderr: chunk => (stderr += chunk.toString()),
    drained: () => void opened.then(more),
  });
  more(await opened);
  await ended;
  return sunkBlocks(stderr) * blockBytes;
}

async function typeKeys(target: Target, keystrokes: number): Promise<number[]> {
  const key = Buffer.from('x');
  const samples: number[] = [];
  let echoed: () => void = () => undefined;
  const { opened } = run(target, { command: ECHO, stdin: true, tty: true }, { stdout: () => echoed() });
  const exec = await opened;
  const type = async (): Promise<void> => {
    const answer = new Promise<void>(resolve => (echoed = resolve));
    exec.write(key);
    await answer;
  };
  await type();
  await new Promise(resolve => setTimeout(resolve, 300)); // a terminal that was not raw yet may have echoed it too
  for (let typed = 0; typed < keystrokes; typed += 1) samples.push(await timed(type));
  exec.close();
  return samples;
}

async function openQuiet(target: Target, sessions: number): Promise<void> {
  let missing = sessions - quiet.length;
  const worker = async (): Promise<void> => {
    while (missing-- > 0) {
      quiet.push(await clientOf(target).open({ command: QUIET, stdin: true, tty: false }, NOTHING));
    }
  };
  await Promise.all(Array.from({ length: OPENING }, worker));
}

/** Runs a command; `ended` rejects unless its exit code is 0. */
function run(
  target: Target,
  asked: AskedExec,
  listener: Partial<ExecListener>,
): { opened: Promise<OpenExec>; ended: Promise<void> } {
  const { promise: ended, resolve, reject } = Promise.withResolvers<undefined>();
  const opened = clientOf(target).open(asked, {
    ...NOTHING,
    ...listener,
    ended: error => (error === undefined ? resolve(undefined) : reject(error)),
  });
  opened.catch(reject);
  ended.catch(() => undefined); // not everybody waits for it
  return { opened, ended };
}

function clientOf(target: Target): ExecClient {
  const key = JSON.stringify(target);
  const client = clients.get(key) ?? makeClient(target);
  clients.set(key, client);
  return client;
}

function makeClient(target: Target): ExecClient {
  if (target.transport === 'engine') return new EngineClient(target);
  return target.transport === 'spdy' ? new SpdyClient(target) : new WebSocketClient(target);
}
