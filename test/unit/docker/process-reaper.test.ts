import assert from 'node:assert/strict';
import { duplexPair, type Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { ExecState } from '../../../src/docker/engine.ts';
import { ProcessReaper, type KillSignal, type LeftCause } from '../../../src/docker/process-reaper.ts';
import { ExecletError } from '../../../src/errors.ts';
import { CONTAINER, FakeProcesses, type FakeProcess } from './fake-processes.ts';

const COMMAND = 500;
const RUNNING: ExecState = { running: true, exitCode: null, pid: COMMAND };
const EXITED: ExecState = { running: false, exitCode: 0, pid: COMMAND };

interface Run {
  readonly tty?: boolean;
  readonly terminal?: Duplex;
  /** What the Engine says, one after the other; the last again and again. */
  readonly states?: readonly (ExecState | Error)[];
  readonly local?: boolean;
}

interface Ended {
  /** As `onKilled` was told. */
  readonly killed: readonly KillSignal[];
  readonly left: readonly LeftCause[];
  readonly signalled: FakeProcesses['signalled'];
  readonly log: readonly string[];
}

async function terminate(processes: FakeProcesses, run: Run = {}): Promise<Ended> {
  const { tty = false, terminal, states = [RUNNING], local = true } = run;
  const killed: KillSignal[] = [];
  const left: LeftCause[] = [];
  const log: string[] = [];
  const line = (event: string, fields = {}): void => void log.push(`${event} ${JSON.stringify(fields)}`);
  let asked = 0;
  const reaper = new ProcessReaper({
    engine: {
      local,
      inspectExec: () => {
        const state = states[Math.min(asked, states.length - 1)] ?? RUNNING;
        asked += 1;
        return state instanceof Error ? Promise.reject(state) : Promise.resolve(state);
      },
    },
    processes,
    gracePeriodMs: 20,
    onKilled: signal => killed.push(signal),
    onLeft: cause => left.push(cause),
    log: { error: line, warn: line, info: line, debug: line },
  });
  await reaper.terminate({ session: 's1', execId: 'e1', containerId: CONTAINER, tty, terminal });
  assert.match(log.at(-1) ?? '', /^command terminated \{"session":"s1","exec":"e1","signals":/);
  return { killed, left, signalled: processes.signalled, log };
}

/** Ends by that signal only. */
function endsBy(...signals: NodeJS.Signals[]): Pick<FakeProcess, 'onSignal'> & { pid?: never } {
  return {
    onSignal(this: FakeProcess, signal, table) {
      if (signals.includes(signal)) table.end(this.pid);
    },
  };
}

const command: FakeProcess = { pid: COMMAND, session: COMMAND };

test('the session and the group of the command are signalled, and nothing else', async () => {
  const others: FakeProcess[] = [
    { pid: 1, session: 1 },
    { pid: 400, session: 400 }, // another exec
    { pid: 401, session: 400, parent: 400 },
    { pid: 501, session: COMMAND, container: 'd'.repeat(64) },
  ];
  const processes = new FakeProcesses([
    ...others,
    command,
    { pid: 502, session: COMMAND, parent: COMMAND },
    { pid: 503, session: COMMAND, group: 503, parent: 1 },
    { pid: 504, session: 499, group: COMMAND },
  ]);
  const { signalled, killed, left } = await terminate(processes);
  const pids = signalled.map(({ pid }) => pid).sort();
  assert.deepEqual(pids, [COMMAND, 502, 503, 504]);
  assert.deepEqual(killed, ['SIGTERM', 'SIGTERM', 'SIGTERM', 'SIGTERM']);
  assert.deepEqual(left, []);
  for (const { pid } of others) assert.ok(processes.has(pid));
});

test('on a terminal SIGHUP comes first; each signal comes once, and only to what the last has not ended', async () => {
  const stubborn: FakeProcess = { pid: 502, session: COMMAND, ...endsBy('SIGKILL') };
  const polite: FakeProcess = { pid: 503, session: COMMAND, ...endsBy('SIGTERM') };
  const { signalled } = await terminate(new FakeProcesses([command, stubborn, polite]), { tty: true });
  assert.deepEqual(signalled, [
    { pid: COMMAND, signal: 'SIGHUP' },
    { pid: 502, signal: 'SIGHUP' },
    { pid: 503, signal: 'SIGHUP' },
    { pid: 502, signal: 'SIGTERM' },
    { pid: 503, signal: 'SIGTERM' },
    { pid: 502, signal: 'SIGKILL' },
  ]);
});

const comet: FakeProcess = { pid: 900, session: COMMAND, fleeting: true, ...endsBy('SIGKILL') };

test('what forks and ends faster than it is looked at goes with its group', async () => {
  const processes = new FakeProcesses([command, comet, { pid: 400, session: 400 }]);
  const { killed, left, log } = await terminate(processes);
  assert.deepEqual([processes.groupsKilled, processes.has(900), processes.has(400)], [[COMMAND], false, true]);
  assert.deepEqual(killed, ['SIGTERM', 'SIGKILL']);
  assert.deepEqual(left, []);
  assert.match(log.at(-1) ?? '', /"signals":\["SIGTERM","SIGKILL"\]/);
});

test('without a command that was seen here its group is not killed, and what is left of it is counted', async () => {
  const processes = new FakeProcesses([comet]);
  const { killed, left } = await terminate(processes, { states: [EXITED] });
  assert.deepEqual([processes.groupsKilled, killed, left], [[], [], ['survived']]);
});

test("a group is not killed when another process has the command's pid", async () => {
  const processes = new FakeProcesses([{ ...command, onSignal: () => undefined }, comet]);
  const reuse = (): void => {
    if (processes.signalled.length > 0) processes.put({ ...command, startTime: 'later' });
  };
  processes.afterScan = reuse;
  await terminate(processes);
  assert.deepEqual(processes.groupsKilled, []);
});

test('a command that the end of its input ends is not signalled', async () => {
  const processes = new FakeProcesses([command]);
  processes.afterScan = () => processes.end(COMMAND);
  const { signalled, left } = await terminate(processes);
  assert.deepEqual([signalled, left], [[], []]);
});

test('what a command that has gone has left in its session is signalled, whether the Engine knows or not', async () => {
  for (const state of [RUNNING, EXITED]) {
    const processes = new FakeProcesses([{ pid: 502, session: COMMAND }]);
    const { signalled, left } = await terminate(processes, { states: [state] });
    assert.deepEqual(signalled, [{ pid: 502, signal: 'SIGTERM' }]);
    assert.deepEqual(left, []);
  }
});

test('a zombie is nothing that is left', async () => {
  const processes = new FakeProcesses([{ ...command, exited: true }]);
  const { signalled, left } = await terminate(processes);
  assert.deepEqual([signalled, left], [[], []]);
});

test('when the pid of a command has become that of another process, nothing is signalled any more', async () => {
  const another: FakeProcess = { ...command, startTime: 'later' };
  const reused = /another process has a command's pid: nothing is signalled/;

  const afterTheFirst = new FakeProcesses([{ ...command, onSignal: (_, table) => table.put(another) }]);
  const first = await terminate(afterTheFirst, { tty: true });
  assert.deepEqual(first.signalled, [{ pid: COMMAND, signal: 'SIGHUP' }]);
  assert.match(first.log.join('\n'), reused);

  // Between the scan and the signal.
  const inBetween = new FakeProcesses([command, { pid: 502, session: COMMAND }]);
  inBetween.afterScan = () => inBetween.put(another);
  const second = await terminate(inBetween, { tty: true });
  assert.deepEqual(second.signalled, []);
  assert.match(second.log.join('\n'), reused);

  // The Engine says that the command has exited, so whoever has its pid is another.
  const exited = await terminate(new FakeProcesses([command]), { states: [EXITED] });
  assert.deepEqual(exited.signalled, []);
  assert.match(exited.log.join('\n'), reused);
});

test('a process whose pid was reused, or that was moved, since it was seen is not signalled', async () => {
  const moves: FakeProcess[] = [
    { pid: 502, session: COMMAND, startTime: 'later' },
    { pid: 502, session: COMMAND, container: 'd'.repeat(64) },
  ];
  for (const moved of moves) {
    const processes = new FakeProcesses([command, { pid: 502, session: COMMAND }]);
    processes.afterScan = () => {
      if (processes.scans === 1) processes.put(moved);
      else processes.end(502);
    };
    const { signalled } = await terminate(processes, { tty: true });
    assert.deepEqual(signalled, [{ pid: COMMAND, signal: 'SIGHUP' }]);
  }
});

test('one that outlives SIGKILL is counted', async () => {
  const processes = new FakeProcesses([command, { pid: 502, session: COMMAND, ...endsBy() }]);
  const { left, log, killed } = await terminate(processes);
  assert.deepEqual(left, ['survived']);
  assert.equal(killed.filter(signal => signal === 'SIGKILL').length, 1);
  assert.match(log.join('\n'), /processes are left in a container .*"cause":"survived","count":1/);
});

test('processes that fork while they are killed are killed too', async () => {
  let next = 600;
  const forks = (signal: NodeJS.Signals, table: FakeProcesses): void => {
    if (signal !== 'SIGKILL') return;
    for (const pid of [COMMAND, ...table.signalled.map(({ pid: killed }) => killed)]) table.end(pid);
    for (let child = 0; child < 3 && next < 640; child += 1, next += 1) {
      table.put({ pid: next, session: COMMAND, group: next, onSignal: forks }); // or they would go with the command's
    }
  };
  const processes = new FakeProcesses([{ ...command, onSignal: forks }]);
  processes.afterScan = () => {
    for (const { pid, signal } of processes.signalled) if (signal === 'SIGKILL') processes.end(pid);
  };
  const { left, killed } = await terminate(processes);
  assert.deepEqual(left, []);
  assert.equal(processes.size, 0);
  assert.equal(killed.filter(signal => signal === 'SIGKILL').length, 41);
});

test('a storm of forks that is faster than SIGKILL comes to an end, and what it leaves is counted', async () => {
  let next = 600;
  const storm = (signal: NodeJS.Signals, table: FakeProcesses): void => {
    if (signal === 'SIGKILL') table.put({ pid: (next += 1), session: COMMAND, group: next, onSignal: storm });
  };
  const processes = new FakeProcesses([{ ...command, onSignal: storm }]);
  processes.afterScan = () => {
    for (const { pid, signal } of processes.signalled) if (signal === 'SIGKILL') processes.end(pid);
  };
  const { left } = await terminate(processes);
  assert.ok(left.length > 0);
  assert.ok(left.every(cause => cause === 'survived'));
});

test('however many processes a command has started, others have their turn', async () => {
  const children = Array.from({ length: 5_000 }, (_, index) => ({
    pid: 1_000 + index,
    parent: COMMAND,
    session: COMMAND,
  }));
  const escaped = children.map(({ pid }) => ({ pid: pid + 10_000, parent: COMMAND, session: pid + 10_000 }));
  const processes = new FakeProcesses([{ ...command, ...endsBy('SIGKILL') }, ...children, ...escaped]);
  let most = 0;
  const over = new AbortController();
  const others = (async () => {
    for (; !over.signal.aborted; processes.looks = 0) {
      await turn();
      most = Math.max(most, processes.looks);
    }
  })();
  const { left } = await terminate(processes);
  over.abort();
  await others;
  assert.equal(left.length, escaped.length);
  assert.ok(most < 1_000, `${most} looks in one turn`);
});

test('descendants in a session of their own are counted once each, and not signalled', async () => {
  const processes = new FakeProcesses([
    { ...command, ...endsBy('SIGKILL') },
    { pid: 502, session: 502, parent: COMMAND },
    { pid: 503, session: 502, parent: 502 },
    { pid: 504, session: 504, parent: COMMAND, container: 'd'.repeat(64) },
    { pid: 505, session: 505, parent: COMMAND },
  ]);
  const { signalled, left } = await terminate(processes, { tty: true });
  assert.deepEqual(new Set(signalled.map(({ pid }) => pid)), new Set([COMMAND]));
  assert.deepEqual(left, ['new_session', 'new_session', 'new_session']);
});

test('one of them that ends in time is not left', async () => {
  const processes = new FakeProcesses([command, { pid: 502, session: 502, parent: COMMAND }]);
  processes.afterScan = () => {
    if (processes.scans === 2) processes.end(502);
  };
  const { left } = await terminate(processes);
  assert.deepEqual(left, []);
});

test('where it may not signal, a terminal gets ^C and ^D, and what does not end by them is counted', async () => {
  for (const ends of [true, false]) {
    const [terminal, engine] = duplexPair();
    const processes = new FakeProcesses([{ ...command, forbidden: true }]);
    const typed = text(engine).then(keys => {
      if (ends) processes.end(COMMAND);
      engine.end();
      return keys;
    });
    const { left, killed } = await terminate(processes, { tty: true, terminal });
    assert.equal(await typed, '\x03\x04');
    assert.deepEqual(killed, []);
    assert.deepEqual(left, ends ? [] : ['not_permitted']);
    assert.ok(terminal.destroyed);
  }
});

test('a terminal whose command gets a signal gets no keys', async () => {
  const [terminal, engine] = duplexPair();
  let typed = '';
  engine.on('data', (keys: Buffer) => (typed += keys.toString()));
  await terminate(new FakeProcesses([command]), { tty: true, terminal });
  assert.ok(terminal.destroyed);
  assert.equal(typed, '');
});

test('where the pid is not seen here, or is that of another process, nothing is signalled', async () => {
  const foreign: FakeProcess[][] = [[], [{ ...command, container: 'd'.repeat(64) }], [{ pid: 502, session: 502 }]];
  for (const processes of foreign) {
    const { signalled, left } = await terminate(new FakeProcesses(processes));
    assert.deepEqual([signalled, left], [[], ['no_host_pid']]);
  }
  const { signalled, left } = await terminate(new FakeProcesses([command]), { local: false });
  assert.deepEqual([signalled, left], [[], ['remote_engine']]);
});

test('a command out of reach that ends by itself is not left', async () => {
  const gone = new ExecletError('HandlerNotFound', 'No such exec instance');
  for (const end of [EXITED, gone]) {
    const { left } = await terminate(new FakeProcesses([]), { states: [RUNNING, end] });
    assert.deepEqual(left, []);
  }
});

test('where the Engine does not answer, or answers no pid, the end is not known', async () => {
  const [terminal, engine] = duplexPair();
  const typed = text(engine);
  const silent = new ExecletError('RuntimeUnavailable', 'the Engine does not answer');
  const { left, log } = await terminate(new FakeProcesses([command]), { tty: true, terminal, states: [silent] });
  engine.end();
  assert.deepEqual(left, ['unknown']);
  assert.match(log[0] ?? '', /^a command cannot be terminated .*the Engine does not answer/);
  assert.equal(await typed, '\x03\x04');
});

test('a command whose start is under way is waited for; one that could not be started is not', async () => {
  const notYet: ExecState = { running: false, exitCode: null, pid: 0 };
  const starting: ExecState = { running: true, exitCode: null, pid: 0 };
  const { killed } = await terminate(new FakeProcesses([command]), { states: [notYet, starting, RUNNING] });
  assert.deepEqual(killed, ['SIGTERM']);
  const failed: ExecState = { running: false, exitCode: 126, pid: 0 };
  const processes = new FakeProcesses([command]);
  const { left } = await terminate(processes, { states: [notYet, failed] });
  assert.deepEqual([left, processes.scans], [[], 0]);
});
