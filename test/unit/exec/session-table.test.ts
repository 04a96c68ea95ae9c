import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ContainerEnd } from '../../../src/exec/container-end.ts';
import type { ExecHandler } from '../../../src/exec/handler.ts';
import type { Session } from '../../../src/exec/session.ts';
import { SessionTable, type AdmissionLimits } from '../../../src/exec/session-table.ts';
import type { SessionFields } from '../../../src/exec/session-record.ts';
import { fakeContainer } from '../../support/fake-registry.ts';
import { FakeConnection, fakeFields } from '../../support/fake-session.ts';

const HOUR_MS = 3_600_000;
const web = fakeContainer('default', 'web', 'app');

function tableOf(limits: Partial<AdmissionLimits> = {}): SessionTable {
  return new SessionTable({
    admission: {
      maxSessions: 1_000,
      maxSessionsPerContainer: 1_000,
      maxSessionsPerCaller: undefined,
      maxSessionRatePerContainer: undefined,
      ...limits,
    },
    limits: { idleTimeoutMs: HOUR_MS, maxDurationMs: undefined },
    onPhase: () => undefined,
    onEnded: () => undefined,
  });
}

let count = 0;
function admit(table: SessionTable, fields: Partial<SessionFields> = {}): Session {
  count += 1;
  return table.admit(fakeFields(`s-${count}`, fields), web);
}

/** A command that runs until its session is ended, or `exit` is called. */
function command() {
  const exit = Promise.withResolvers<{ exitCode: number; source: 'event' }>();
  const handler: ExecHandler = {
    exec: (_spec, _streams, life) => {
      life.signal.throwIfAborted();
      life.reached('created');
      life.reached('started');
      life.signal.addEventListener('abort', () => exit.reject(life.signal.reason), { once: true });
      return exit.promise;
    },
  };
  return { handler, exit: (exitCode: number) => exit.resolve({ exitCode, source: 'event' }) };
}

function run(session: Session, connection = new FakeConnection(), tty = false) {
  const { handler, exit } = command();
  const done = session.run({
    container: { ...web, handler },
    spec: { command: ['sh'], tty },
    connection,
    onOutcome: () => undefined,
  });
  return { connection, exit, done };
}

test('each limit refuses what is beyond it, says which it is, and forgets those that are over', () => {
  const cases: [limits: Partial<AdmissionLimits>, message: string][] = [
    [{ maxSessions: 2 }, 'too many sessions: 2 run on this node, and --max-sessions allows no more'],
    [
      { maxSessionsPerContainer: 2 },
      'too many sessions: 2 run in this container, and --max-sessions-per-container allows no more',
    ],
    [{ maxSessionsPerCaller: 2 }, 'too many sessions: "alice" has 2, and --max-sessions-per-caller allows no more'],
  ];
  for (const [limits, message] of cases) {
    const table = tableOf(limits);
    const first = admit(table);
    admit(table);
    assert.throws(() => admit(table), { code: 'TooManySessions', httpStatus: 429, message });
    first.withdraw();
    admit(table);
  }
});

test('the sessions of another container, or of another caller, do not count', () => {
  const table = tableOf({ maxSessionsPerContainer: 1, maxSessionsPerCaller: 1 });
  admit(table);
  assert.throws(() => admit(table, { user: 'bob' }), /in this container/);
  assert.throws(() => admit(table, { containerId: 'other' }), /"alice" has 1/);
  admit(table, { user: 'bob', containerId: 'other' });
});

test('the rate of a container is a burst of one second, and says when to ask again', context => {
  let now = 0;
  context.mock.method(performance, 'now', () => now);
  const table = tableOf({ maxSessionRatePerContainer: 0.5 });
  admit(table);
  assert.throws(() => admit(table), {
    code: 'TooManySessions',
    retryAfterSeconds: 2,
    message: /--max-session-rate-per-container/,
  });
  now = 1_000;
  assert.throws(() => admit(table), { retryAfterSeconds: 1 });
  now = 2_000;
  admit(table);
  now = 1_000_000; // however long nobody came
  admit(table);
  assert.throws(() => admit(table), { code: 'TooManySessions' });
  table.admit(fakeFields('elsewhere'), fakeContainer('default', 'web', 'other', { gone: new ContainerEnd() }));
});

test('lists those that run, the newest first, and then the last 256 that ended', async () => {
  const table = tableOf();
  const long = run(admit(table, { session: 'long' }));
  for (let index = 0; index < 300; index += 1) {
    const { exit, done } = run(admit(table, { session: `short-${index}` }));
    exit(index % 256);
    await done;
  }
  admit(table, { session: 'new' });
  const list = table.list();
  assert.deepEqual(
    list.slice(0, 3).map(({ id, state }) => [id, state]),
    [
      ['new', 'admitted'],
      ['long', 'started'],
      ['short-299', 'ended'],
    ],
  );
  assert.equal(list.length, 2 + 256);
  assert.equal(list.at(-1)?.id, 'short-44');
  assert.partialDeepStrictEqual(table.find('short-299'), {
    state: 'ended',
    reason: 'exit',
    exitCode: 43,
    user: 'alice',
  });
  assert.equal(table.find('short-0'), undefined);
  long.exit(0);
  await long.done;
});

test('shows the first word of a command and nothing of the rest', () => {
  const table = tableOf();
  admit(table, { session: 'one', command: ['mysql', '--password=secret'] });
  assert.doesNotMatch(JSON.stringify(table.list()), /secret/);
  assert.equal(table.find('one')?.program, 'mysql');
});

/** What is in use when all garbage has been collected. */
function usedBytes(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  return process.memoryUsage().heapUsed;
}

test('what is remembered of a session that has ended keeps nothing else of its request in memory', () => {
  const [sessions, bytes] = [64, 512 * 1024];
  const table = tableOf();
  const before = usedBytes();
  for (let index = 0; index < sessions; index += 1) {
    const query = Buffer.from(`?id=audit-id-of-${index}&command=program-${index}&command=${'x'.repeat(bytes)}`);
    const values = new URLSearchParams(query.toString('latin1'));
    const [auditId] = values.getAll('id');
    admit(table, { auditId, command: values.getAll('command') }).failToOpen('client_gone');
  }
  const keptBytes = usedBytes() - before;
  assert.partialDeepStrictEqual(table.list()[0], { auditId: 'audit-id-of-63', program: 'program-63' });
  assert.ok(keptBytes < (sessions * bytes) / 4, `${keptBytes} bytes`);
});

test('an administrator ends a session: its client is told who did, and a second time it is over', async () => {
  const table = tableOf();
  const { connection, done } = run(admit(table, { session: 'one' }));
  assert.equal(table.end('one', 'root').id, 'one');
  await done;
  assert.ok(connection.outcome?.kind === 'failed');
  assert.equal(connection.outcome.reason, 'admin');
  assert.equal(connection.outcome.error.message, 'the session was ended by root (session one)');
  assert.throws(() => table.end('one', 'root'), {
    code: 'SessionOver',
    message: 'session one has already ended: admin',
  });
  assert.throws(() => table.end('two', 'root'), { code: 'HandlerNotFound', message: 'session two not found' });
});

test('an administrator cuts off a client that does not take the rest of its output', async () => {
  const table = tableOf();
  const { connection, exit, done } = run(admit(table, { session: 'one' }), new FakeConnection({ slow: true }));
  exit(3);
  await new Promise(setImmediate);
  assert.partialDeepStrictEqual(table.find('one'), { state: 'draining', reason: 'exit', exitCode: 3 });
  table.end('one', 'root');
  await done;
  assert.partialDeepStrictEqual(connection.outcome, { kind: 'exited', exitCode: 3 });
  assert.partialDeepStrictEqual(table.find('one'), { state: 'ended', reason: 'exit', exitCode: 3 });
});

test('draining tells the terminals, leaves what ends in time its own code, and ends the rest', async context => {
  const listener = setInterval(() => undefined, 1_000); // as the daemon's own, keeps the process
  context.after(() => clearInterval(listener));
  const table = tableOf();
  const inTime = run(admit(table), new FakeConnection(), true);
  const late = run(admit(table));
  const opening = admit(table, { session: 'opening' });
  await new Promise(setImmediate);
  const drained = table.drain({ timeoutMs: 50, deliveryMs: 1_000 });
  assert.throws(() => admit(table), { code: 'RuntimeUnavailable', message: 'the daemon is stopping' });
  assert.equal(inTime.connection.stdout, '\r\n[execlet] execlet is stopping on this node: this session ends in 0s\r\n');
  assert.equal(late.connection.stdout, '', 'no terminal');
  inTime.exit(7);
  await late.done;
  assert.partialDeepStrictEqual(inTime.connection.outcome, { kind: 'exited', exitCode: 7 });
  assert.partialDeepStrictEqual(late.connection.outcome, { kind: 'failed', reason: 'drain' });
  const lateToOpen = run(opening);
  await drained;
  await lateToOpen.done;
  assert.partialDeepStrictEqual(lateToOpen.connection.outcome, { kind: 'failed', reason: 'drain' });
  await table.whenEmpty();
});

test('draining answers how many clients have not taken the end of their sessions', async () => {
  const table = tableOf();
  const slow = run(admit(table), new FakeConnection({ slow: true }));
  const quick = run(admit(table));
  assert.equal(await table.drain({ timeoutMs: 1, deliveryMs: 1 }), 1);
  await quick.done;
  slow.connection.destroy();
  await slow.done;
  assert.equal(await table.drain({ timeoutMs: 1, deliveryMs: 1 }), 0);
});

test('a terminal whose command is started while the daemon drains is told then', async () => {
  const table = tableOf();
  const opening = admit(table);
  const drained = table.drain({ timeoutMs: 60_000, deliveryMs: 1_000 });
  const { connection, exit } = run(opening, new FakeConnection(), true);
  exit(0);
  assert.equal(await drained, 0);
  assert.match(connection.stdout, /^\r\n\[execlet\] execlet is stopping on this node: this session ends in 60s\r\n$/);
});

test('a session is not over before what it has left in its container is dealt with', async () => {
  const table = tableOf();
  const killing = Promise.withResolvers<undefined>();
  const session = admit(table);
  const { done } = run(session);
  session.keepUntil(killing.promise);
  const drained = table.drain({ timeoutMs: 1, deliveryMs: 60_000 });
  await drained; // its client has been told
  assert.equal(session.state, 'draining');
  assert.equal(table.size, 1);
  killing.resolve(undefined);
  await Promise.all([table.whenEmpty(), done]);
  assert.equal(table.size, 0);
});

test('of what clients and proxies chose only so much is shown, and kept', async () => {
  const table = tableOf();
  const long = 'x'.repeat(1_000_000);
  const fields = { user: long, proxy: long, auditId: long, forwardedFor: long, command: [long, long] };
  const session = admit(table, { ...fields, groups: Array.from({ length: 10_000 }, () => 'group') });
  const { exit, done } = run(session);
  exit(0);
  await done;
  const [view] = table.list();
  assert.ok(JSON.stringify(view).length < 16_384);
  assert.match(view?.user ?? '', /^x{1000,}…$/);
  assert.match(view?.program ?? '', /^x{256}$/);
});

test('a session that is remembered keeps nothing of its request', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const heapBytes = (): number => {
    collect();
    return process.memoryUsage().heapUsed;
  };
  const table = tableOf();
  const before = heapBytes();
  for (let round = 0; round < 50; round += 1) {
    const line = `/usr/bin/some-program ${round} ${'x'.repeat(1_000_000)}`;
    const { exit, done } = run(admit(table, { command: line.split(' ') }));
    exit(0);
    await done;
  }
  const grown = heapBytes() - before;
  assert.ok(grown < 5_000_000, `${grown} bytes`);
});
