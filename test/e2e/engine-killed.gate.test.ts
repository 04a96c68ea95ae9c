import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { SUCCESS } from '../support/exec-server.ts';
import { gateCount, gateSize } from '../support/gates.ts';
import type { PrivateDockerd } from '../support/private-dockerd.ts';
import { rawExec, TRANSPORTS, type RawExec, type Transport } from '../support/raw-exec.ts';
import { serveWeb } from '../support/served.ts';

// An Engine that ends under live sessions: each is told of a failure, at once, and the next ones work when it is back.

const SESSIONS_PER_TRANSPORT = 25;
const TOLD_WITHIN_MS = 2_000;
const SERVES_WITHIN_MS = 5_000;
/** Sessions start, and what is idle between us and the Engine times out. */
const PATIENCE_MS = 60_000;
const KILLED = 128 + 9;
const REASONS = ['engine_gone', 'container_gone'];

/** Version 1 of SPDY is not here: it has no error stream that could tell anything. */
const PROTOCOLS: Record<Transport, readonly string[]> = {
  spdy: ['v4.channel.k8s.io', 'v3.channel.k8s.io', 'v2.channel.k8s.io'],
  websocket: ['v5.channel.k8s.io', 'v4.channel.k8s.io', 'v4.base64.channel.k8s.io', 'channel.k8s.io'],
};

/** None of them ends by itself. */
const KINDS = [
  { name: 'idle', script: 'sleep 100000; :', tty: false, stdin: false },
  { name: 'with output', script: 'while :; do echo some output; sleep 0.05; done', tty: false, stdin: false },
  { name: 'with input', script: 'cat; sleep 100000; :', tty: false, stdin: true },
  { name: 'at a terminal', script: 'sleep 100000; :', tty: true, stdin: true },
  {
    name: 'with output at a terminal',
    script: 'while :; do echo some output; sleep 0.05; done',
    tty: true,
    stdin: true,
  },
] as const;

interface Live {
  readonly name: string;
  readonly protocol: string;
  readonly over: Promise<RawExec>;
}

interface End {
  readonly name: string;
  readonly rounds: number;
  readonly end: (dockerd: PrivateDockerd) => Promise<void>;
  /** It is started again before anybody has looked at what became of the sessions. */
  readonly returnsAtOnce?: boolean;
  /** It ends the commands with their container, tells of that first, and may not come to tell of the container. */
  readonly killsCommands?: boolean;
}

const ENDS: readonly End[] = [
  { name: 'killed', rounds: gateCount(10), end: dockerd => dockerd.kill() },
  {
    name: 'stopped in good order',
    rounds: gateSize({ full: 3, short: 1 }),
    end: dockerd => dockerd.terminate(),
    killsCommands: true,
  },
  {
    name: 'killed and started again at once',
    rounds: gateSize({ full: 3, short: 1 }),
    end: dockerd => dockerd.kill(),
    returnsAtOnce: true,
  },
];

const served = serveWeb({ args: ['--engine-timeout', '60s'] });

for (const { name, rounds, end, returnsAtOnce = false, killsCommands = false } of ENDS) {
  test(`${rounds} times: the Engine is ${name} under ${2 * SESSIONS_PER_TRANSPORT} sessions`, async context => {
    const { daemon, web } = served;
    const dockerd = served.engine.requirePrivate();
    if (!(await answers())) await dockerd.start(); // what a round before this one may have left
    if (!(await web.docker.inspect()).State.Running) await web.docker.start();
    await serves(); // so that what is counted now has seen work
    const fdsBefore = await quietFds(0);
    for (let round = 0; round < rounds; round += 1) {
      const endedBefore = daemon.sessionsEnded().length;
      const live: Live[] = [];
      for (let index = 0; index < SESSIONS_PER_TRANSPORT; index += 1) {
        live.push(...TRANSPORTS.map(transport => begin(transport, index)));
        await allRun(live); // an Engine starts the commands of a container one after the other
      }
      await end(dockerd);
      const returned = returnsAtOnce ? dockerd.start() : undefined;
      const toldMs = await inTime(TOLD_WITHIN_MS, live);
      for (const session of live) assertFailure(session, await session.over, killsCommands);
      const lines = (await daemon.waitForSessionsEnded(endedBefore + live.length)).slice(endedBefore);
      const reasons = lines.map(({ reason, exitCode }) => (exitCode === KILLED && killsCommands ? 'killed' : reason));
      const counts = new Map([...REASONS, 'killed'].map(reason => [reason, 0]));
      for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
      assert.equal(counts.size, REASONS.length + 1, [...counts].join(' '));

      await (returned ?? dockerd.start());
      const returnedAt = performance.now();
      await web.docker.start();
      await serves();
      const servesMs = Math.round(performance.now() - returnedAt);
      context.diagnostic(
        `${[...counts].join(' ')}; told within ${toldMs} ms; execs work ${servesMs} ms after the Engine's return`,
      );
      assert.ok(servesMs < SERVES_WITHIN_MS, `execs work only ${servesMs} ms after the Engine's return`);
      assert.ok((await quietFds(fdsBefore)) <= fdsBefore);
    }
  });
}

function begin(transport: Transport, index: number): Live {
  const protocols = PROTOCOLS[transport];
  const protocol = protocols[index % protocols.length] ?? '';
  const { name: kind, script, tty, stdin } = KINDS[index % KINDS.length] ?? KINDS[0];
  const name = `${transport}-${index}`;
  const over = rawExec(transport, {
    port: served.daemon.port,
    command: ['sh', '-c', script, name],
    protocol,
    tty,
    ...(stdin && { stdin: Readable.from(someInput()) }),
  });
  over.catch(() => undefined); // awaited when its turn comes
  return { name: `${name} (${kind}, ${protocol})`, protocol, over };
}

/** A little input again and again, until the session's end destroys it. */
async function* someInput(): AsyncGenerator<Buffer> {
  for (;;) {
    yield Buffer.from('some input\n');
    await delay(50);
  }
}

/** Waits until the container runs every session's command. Only the Engine's list of processes tells. */
async function allRun(live: readonly Live[]): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  let failed: string | undefined;
  const fail = (why: string): void => void (failed ??= why);
  for (const { name, over } of live) {
    over.then(
      ({ status }) => fail(`${name}: ${status}`),
      (cause: unknown) => fail(`${name}: ${String(cause)}`),
    );
  }
  for (;;) {
    const { Processes } = (await served.web.docker.top({ ps_args: '-eo pid,args' })) as { Processes: string[][] };
    const running = new Set(Processes.map(([, args = '']) => args.split(' ').at(-1)));
    const missing = live.filter(({ name }) => !running.has(name.split(' ')[0]));
    if (missing.length === 0) return;
    assert.equal(failed, undefined);
    assert.ok(Date.now() < deadline, `never ran: ${missing.map(({ name }) => name).join(', ')}`);
    await delay(50);
  }
}

async function inTime(timeoutMs: number, live: readonly Live[]): Promise<number> {
  const from = performance.now();
  const waiting = new Set(live);
  const all = Promise.all(live.map(session => session.over.finally(() => waiting.delete(session))));
  await Promise.race([all, delay(timeoutMs, undefined, { ref: false })]);
  assert.deepEqual(
    [...waiting].map(({ name }) => name),
    [],
    `not told within ${timeoutMs} ms`,
  );
  return Math.round(performance.now() - from);
}

function assertFailure({ name, protocol }: Live, result: RawExec, mayBeKilled: boolean): void {
  const { status, statuses, complete } = result;
  assert.equal(statuses, 1, name);
  assert.ok(complete, name);
  if (mayBeKilled && status.includes(`non-zero exit code: exit status ${KILLED}`)) return; // as true
  if (!/^v[45]/.test(protocol)) {
    assert.match(status, /^Internal error occurred: ./, name); // the reason is in the log only
    return;
  }
  const { status: outcome, details } = JSON.parse(status) as FailureStatus;
  assert.equal(outcome, 'Failure', name);
  const reason = details?.causes.find(cause => cause.reason === 'ExecletReason')?.message ?? status;
  assert.ok(REASONS.includes(reason), `${name}: ${reason}`);
}

interface FailureStatus {
  readonly status: string;
  readonly details?: { readonly causes: readonly { readonly reason?: string; readonly message: string }[] };
}

async function answers(): Promise<boolean> {
  return served.engine.docker.ping().then(
    () => true,
    () => false,
  );
}

/** Resolves when execs work on both transports. */
async function serves(): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  for (const transport of TRANSPORTS) {
    let result: RawExec | undefined;
    while (result === undefined) {
      // Refused until the daemon sees the container again.
      result = await rawExec(transport, { port: served.daemon.port, command: ['echo', 'hi'] }).catch(() => undefined);
      assert.ok(Date.now() < deadline, 'execs never worked again');
      if (result === undefined) await delay(20);
    }
    assert.deepEqual([result.stdout.toString(), result.status], ['hi\n', SUCCESS]);
  }
}

/** How many descriptors the daemon has when they are not more than `most`, or when they have not become fewer for a while. */
async function quietFds(most: number): Promise<number> {
  let fewest = Infinity;
  const deadline = Date.now() + (most === 0 ? 12_000 : PATIENCE_MS);
  while (fewest > most && Date.now() < deadline) {
    fewest = Math.min(fewest, (await readdir(`/proc/${served.daemon.pid}/fd`)).length);
    await delay(100);
  }
  return fewest;
}
