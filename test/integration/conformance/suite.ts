import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { SPDY_WIRES } from '../../support/spdy-wire.ts';
import type { Served } from '../../support/served.ts';
import { WEBSOCKET_WIRES } from '../../support/websocket-wire.ts';
import { clientOutcome, type ExecServer, type Wire, type WireResult } from '../../support/wire.ts';
import { ROWS, type Row, type RowContext } from './table.ts';

export const WIRES: readonly Wire[] = [...SPDY_WIRES, ...WEBSOCKET_WIRES];

/** Execs at the same time; more than the Engine starts at once would only wait there. */
const ROWS_AT_A_TIME = 6;
/** A row that hangs is told from one that is slow. */
const ROW_TIMEOUT_MS = 60_000;
/** "At once", with room for a busy machine. */
const AT_ONCE_MS = 3_000;
/** Connections to the Engine are kept for 5 s when they are idle. */
const DESCRIPTORS_TIMEOUT_MS = 20_000;

/** For the daemon: on a busy machine an Engine that is asked for six execs at once takes its time. */
export const PATIENT = ['--engine-timeout', '1m'];

export interface ConformanceOptions {
  readonly served: Served;
  /** For titles: how the wires reach the daemon. */
  readonly over: string;
  readonly wires?: readonly Wire[];
  /** Called within tests only: before that nothing listens. */
  readonly server: () => ExecServer;
}

/** Runs the whole table over each of the wires, with and without a terminal where a row makes sense for it. */
export function describeConformance({ served, over, wires = WIRES, server }: ConformanceOptions): void {
  let descriptors = 0;
  test(`34: the daemon's descriptors are counted before the first session${over}`, async () => {
    descriptors = await openDescriptors(served.daemon.pid);
  });
  for (const wire of wires) {
    const cases = ROWS.filter(({ where }) => where?.(wire) ?? true).flatMap(row =>
      (row.tty === 'both' ? [false, true] : [row.tty === 'yes']).map(tty => ({ row, tty, title: titleOf(row, tty) })),
    );
    describe(`${wire.name}${over}`, { concurrency: ROWS_AT_A_TIME }, () => {
      for (const { row, tty, title } of cases.filter(({ row: { endsAs } }) => endsAs === undefined)) {
        test(title, { timeout: ROW_TIMEOUT_MS }, async () => arrives(served, server(), wire, row, tty));
      }
    });
    // One at a time: which session it is that the daemon logs can only be told when there is one.
    describe(`${wire.name}${over}: the client goes`, () => {
      for (const { row, tty, title } of cases.filter(({ row: { endsAs } }) => endsAs !== undefined)) {
        test(title, { timeout: ROW_TIMEOUT_MS }, async () => leaves(served, server(), wire, row, tty));
      }
    });
  }
  test(`34: when all sessions${over} are over, the daemon holds no descriptor more than before`, async () => {
    const deadline = Date.now() + DESCRIPTORS_TIMEOUT_MS;
    for (;;) {
      const now = await openDescriptors(served.daemon.pid);
      if (now <= descriptors) return;
      assert.ok(Date.now() < deadline, `${now} descriptors, ${descriptors} before`);
      await delay(50); // nothing tells when another process closes one
    }
  });
}

function titleOf({ items, title }: Row, tty: boolean): string {
  return `${items.join(', ')}: ${title}${tty ? ', with a terminal' : ''}`;
}

async function run(
  served: Served,
  server: ExecServer,
  wire: Wire,
  row: Row,
  tty: boolean,
): Promise<WireResult | undefined> {
  const { command, streams = ['stdout', 'stderr'], readBytesPerSecond } = row;
  const exec = await wire.open(server, {
    command: typeof command === 'string' ? ['sh', '-c', command] : command,
    streams,
    tty,
    ...(readBytesPerSecond !== undefined && { readBytesPerSecond }),
  });
  try {
    const context: RowContext = { wire, container: served.web, open: async asked => wire.open(server, asked) };
    const [result] = await Promise.all([
      row.endsAs === undefined ? exec.end() : undefined,
      row.client?.(exec, context),
    ]);
    return result;
  } finally {
    exec.leave('reset');
  }
}

async function arrives(served: Served, server: ExecServer, wire: Wire, row: Row, tty: boolean): Promise<void> {
  const result = await run(served, server, wire, row, tty);
  assert.ok(result !== undefined);
  const outcome = clientOutcome(result.status, wire);
  if (row.failure === undefined) assert.deepEqual(outcome, { exitCode: row.exitCode ?? 0 });
  else assert.match('failure' in outcome ? outcome.failure : '', row.failure);
  expectOutput('stdout', result.stdout, row.stdout ?? '', tty);
  expectOutput('stderr', result.stderr, row.stderr ?? '', tty);
  assert.deepEqual(result.faults, []);
}

function expectOutput(name: string, actual: Buffer, expected: NonNullable<Row['stdout']>, tty: boolean): void {
  if (typeof expected === 'function') {
    expected(actual.toString('latin1'));
    return;
  }
  if (expected instanceof RegExp) {
    assert.match(actual.toString(), expected);
    return;
  }
  const bytes = Buffer.from(typeof expected === 'string' && tty ? expected.replaceAll('\n', '\r\n') : expected);
  if (actual.equals(bytes)) return;
  // Only what can be read: the difference of megabytes cannot.
  const short = (whole: Buffer): string => JSON.stringify(whole.toString('latin1', 0, 300));
  assert.fail(`${name} is ${actual.length} bytes, ${short(actual)}; expected ${bytes.length}, ${short(bytes)}`);
}

/** Afterwards the daemon has logged why, and serves. */
async function leaves(served: Served, server: ExecServer, wire: Wire, row: Row, tty: boolean): Promise<void> {
  const { daemon } = served;
  const before = daemon.sessionsEnded().length;
  await run(served, server, wire, row, tty);
  const ended = await daemon.waitForSessionsEnded(before + 1, AT_ONCE_MS);
  assert.equal(ended.at(-1)?.reason, row.endsAs);
  const next = await wire.open(server, { command: ['echo', 'hi'], streams: ['stdout'], tty: false });
  assert.equal((await next.end()).stdout.toString(), 'hi\n');
}

async function openDescriptors(pid: number): Promise<number> {
  return (await readdir(`/proc/${pid}/fd`)).length;
}
