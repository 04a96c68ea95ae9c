import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { chmod, mkdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test, type TestContext } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { SessionLog, type SessionLogOptions } from '../../../src/exec/session-log.ts';
import { MAX_LINE_BYTES, type RefusalFields, type SessionFields } from '../../../src/exec/session-record.ts';
import { parseRedactPattern } from '../../../src/exec/redaction.ts';
import { temporaryDirectory } from '../../support/cleanup.ts';

const { path: directory, remove } = await temporaryDirectory('session-log');
after(remove);

const MODULE = new URL('../../../src/exec/session-log.ts', import.meta.url).href;
const UNAVAILABLE = { name: 'ExecletError', code: 'RuntimeUnavailable', message: /^the session log cannot be written/ };

function session(id: string, rest: Partial<SessionFields> = {}): SessionFields {
  return {
    session: id,
    user: 'jane',
    groups: ['system:authenticated'],
    proof: 'client_certificate',
    namespace: 'shop',
    pod: 'web',
    container: 'app',
    containerId: 'c1',
    command: ['ls'],
    tty: false,
    transport: 'spdy',
    protocol: 'v4.channel.k8s.io',
    ...rest,
  };
}
const END = { reason: 'exit', exitCode: 0, stdinBytes: 0, stdoutBytes: 0, stderrBytes: 0, durationMs: 1 } as const;
const REFUSAL: RefusalFields = { method: 'GET', path: '/pods', status: 401, code: 'Unauthenticated', message: 'no' };

let files = 0;
function freshPath(): string {
  return join(directory, `${++files}.log`);
}

interface Heard {
  /** The result of each record, in order. */
  readonly results: string[];
  /** `problem` and `recovered`, in order, and the messages of the first. */
  readonly states: string[];
  readonly problems: string[];
}

async function openLog(
  context: TestContext,
  options: Partial<SessionLogOptions> = {},
): Promise<{ log: SessionLog; path: string; heard: Heard }> {
  const heard: Heard = { results: [], states: [], problems: [] };
  const path = options.target ?? freshPath();
  const log = await SessionLog.open({
    target: path,
    failure: 'refuse',
    redact: [],
    onRecord: result => heard.results.push(result),
    onProblem: error => {
      heard.states.push('problem');
      heard.problems.push(error.message);
    },
    onRecovered: () => heard.states.push('recovered'),
    ...options,
  });
  context.after(async () => {
    const closed = log.close();
    if (faked.has(context)) context.mock.timers.tick(2_000);
    await closed;
  });
  return { log, path, heard };
}

type Line = Record<string, unknown>;

function parse(text: string): Line[] {
  return text
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line) as Line);
}

async function linesOf(path: string): Promise<Line[]> {
  return parse(await readFile(path, 'utf8'));
}

/** The events of the lines, with the sessions of those that have one. */
function named(lines: readonly Line[]): string[] {
  return lines.map(({ event, session: id }) => (typeof id === 'string' ? `${String(event)} ${id}` : String(event)));
}

/** Files are real, only timers are not, so what happens in files is waited for from turn to turn. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await nextTurn();
}

const faked = new Set<TestContext>();

function fakeTimers(context: TestContext): void {
  faked.add(context);
  context.mock.timers.enable({ apis: ['setTimeout'] });
}

/** A named pipe with a reader that reads only when it is told to. */
function namedPipe(context: TestContext): { path: string; fill: () => void; readPage: () => void; read: () => string } {
  const path = freshPath();
  execFileSync('mkfifo', [path]);
  const fd = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
  context.after(() => fs.closeSync(fd));
  const again = (step: () => void): void => {
    try {
      for (;;) step();
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'EAGAIN');
    }
  };
  return {
    path,
    fill: () => again(() => fs.writeSync(fd, '\n'.repeat(4096))),
    readPage: () => void fs.readSync(fd, Buffer.alloc(4096)),
    read: () => {
      const parts: Buffer[] = [];
      again(() => {
        const buffer = Buffer.alloc(64 * 1024);
        parts.push(buffer.subarray(0, fs.readSync(fd, buffer)));
      });
      return Buffer.concat(parts).toString();
    },
  };
}

test('writes a line for each start, end and refusal, in order', async context => {
  const { log, path, heard } = await openLog(context);
  await log.started(session('1'));
  log.refused(REFUSAL);
  const second = log.started(session('2'));
  log.ended({ ...session('1'), ...END });
  await second;
  log.ended({ ...session('2'), ...END });
  await log.close();
  assert.deepEqual(named(await linesOf(path)), [
    'session_started 1',
    'refused',
    'session_started 2',
    'session_ended 1',
    'session_ended 2',
  ]);
  assert.deepEqual(heard.results, Array<string>(5).fill('written'));
  assert.deepEqual(heard.states, []);
});

test('with refuse, a session whose start has resolved is in the file already', async context => {
  const { log, path } = await openLog(context);
  await log.started(session('1'));
  assert.deepEqual(named(await linesOf(path)), ['session_started 1']);
});

test('hides what the patterns match', async context => {
  const { log, path } = await openLog(context, { redact: [parseRedactPattern('--password[= ]\\S+')] });
  await log.started(session('1', { command: ['login', '--password', 'hunter2'] }));
  const [line] = await linesOf(path);
  assert.deepEqual(line?.command, ['login', '[redacted]', '[redacted]']);
});

test('a burst of the longest records arrives whole and in order', async context => {
  const { log, path } = await openLog(context, { failure: 'continue' });
  const command = Array<string>(20).fill('\u0001'.repeat(1000));
  const ids = Array.from({ length: 200 }, (_, at) => String(at));
  for (const id of ids) await log.started(session(id, { command }));
  await log.close();
  const text = await readFile(path, 'utf8');
  assert.deepEqual(
    parse(text).map(line => line.session),
    ids,
  );
  assert.ok(text.split('\n').every(line => Buffer.byteLength(line) < MAX_LINE_BYTES));
});

test('a new file is for its owner alone', async context => {
  const { path } = await openLog(context);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
});

test('a file that others may read, or the group may write, no longer is; that the group may read stays', async context => {
  for (const [before, then] of [
    [0o666, 0o640],
    [0o604, 0o600],
    [0o660, 0o640],
    [0o640, 0o640],
    [0o600, 0o600],
  ] as const) {
    const path = freshPath();
    await writeFile(path, '{"event":"older"}\n');
    await chmod(path, before);
    const { log } = await openLog(context, { target: path });
    assert.equal((await stat(path)).mode & 0o777, then, before.toString(8));
    await log.started(session('1'));
    assert.deepEqual(named(await linesOf(path)), ['older', 'session_started 1']);
  }
});

test('what cannot be a log ends the start with one line that names it', async context => {
  const directoryTarget = join(directory, 'is-a-directory');
  await mkdir(directoryTarget);
  await assert.rejects(openLog(context, { target: directoryTarget }), {
    message: new RegExp(`^the session log ${directoryTarget} cannot be written: EISDIR: [^\n]*$`),
  });
  await assert.rejects(openLog(context, { target: join(directory, 'missing', 'a.log') }), { message: /ENOENT/ });
  const unread = freshPath();
  execFileSync('mkfifo', [unread]);
  await assert.rejects(openLog(context, { target: unread }), { message: /nobody reads the named pipe/ });
});

test('after a rotation the lines go to the new file once it is opened anew, and none is lost', async context => {
  const { log, path, heard } = await openLog(context);
  await log.started(session('1'));
  await rename(path, `${path}.1`);
  await log.started(session('2'));
  log.ended({ ...session('1'), ...END });
  await log.reopen();
  await log.started(session('3'));
  assert.deepEqual(named(await linesOf(`${path}.1`)), ['session_started 1', 'session_started 2', 'session_ended 1']);
  assert.deepEqual(named(await linesOf(path)), ['session_started 3']);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.deepEqual(heard.states, []);
});

test('after many rotations no descriptor is left behind', async context => {
  const { log, path } = await openLog(context);
  const open = (): number =>
    fs.readdirSync('/proc/self/fd').filter(fd => {
      try {
        return fs.readlinkSync(`/proc/self/fd/${fd}`).startsWith(path);
      } catch {
        return false; // the one of this listing
      }
    }).length;
  for (let at = 0; at < 10; at++) {
    await rename(path, `${path}.${at}`);
    await log.reopen();
  }
  assert.equal(open(), 1);
  await log.close();
  assert.equal(open(), 0);
});

test('a directory that is gone at a rotation: the old file stays in use until the new one can be opened', async context => {
  fakeTimers(context);
  const home = join(directory, 'vanishing');
  await mkdir(home);
  const { log, heard } = await openLog(context, { target: join(home, 'a.log') });
  await rename(home, `${home}.old`);
  await log.reopen();
  assert.deepEqual(heard.states, ['problem']);
  assert.match(heard.problems[0] ?? '', /vanishing\/a\.log cannot be written: ENOENT/);
  log.checkWritable();
  await log.started(session('1'));
  assert.deepEqual(named(await linesOf(join(`${home}.old`, 'a.log'))), ['session_started 1']);

  await mkdir(home);
  context.mock.timers.tick(1_000);
  await until(() => heard.states.length === 2);
  assert.deepEqual(heard.states, ['problem', 'recovered']);
  await log.started(session('2'));
  assert.deepEqual(named(await linesOf(join(home, 'a.log'))), ['session_started 2']);
});

test('a line that was cut by a crash or a full disk is ended before the next one', async context => {
  const path = freshPath();
  await writeFile(path, '{"event":"session_started","sess');
  const { log } = await openLog(context, { target: path });
  await log.started(session('1'));
  const [torn, ...lines] = (await readFile(path, 'utf8')).split('\n');
  assert.equal(torn, '{"event":"session_started","sess');
  assert.deepEqual(named(parse(lines.join('\n'))), ['session_started 1']);
});

test('with refuse and a full disk no session starts, until there is room', async context => {
  fakeTimers(context);
  const path = freshPath();
  await symlink('/dev/full', path);
  const { log, heard } = await openLog(context, { target: path });
  log.checkWritable();
  const first = log.started(session('1'));
  await until(() => heard.states.length === 1);
  assert.match(heard.problems[0] ?? '', /cannot be written: ENOSPC/);
  assert.throws(() => log.checkWritable(), UNAVAILABLE);
  await assert.rejects(log.started(session('2')), UNAVAILABLE);
  context.mock.timers.tick(2_000);
  await assert.rejects(first, UNAVAILABLE);
  await until(() => heard.results.length === 1);
  log.ended({ ...session('0'), ...END });

  await rm(path);
  await log.reopen();
  await until(() => heard.states.length === 2);
  log.checkWritable();
  await log.started(session('3'));
  assert.deepEqual(heard.states, ['problem', 'recovered']);
  const lines = await linesOf(path);
  // The start that was taken back is missing; the end has waited.
  assert.deepEqual(named(lines).sort(), ['records_lost', 'session_ended 0', 'session_started 3']);
  assert.equal(lines.find(({ event }) => event === 'records_lost')?.count, 1);
  assert.deepEqual(heard.results, ['failed', 'written', 'written']);
});

test('with refuse it is found out that there is room again even if nothing waits to be written', async context => {
  fakeTimers(context);
  const path = freshPath();
  await symlink('/dev/full', path);
  const { log, heard } = await openLog(context, { target: path });
  const first = log.started(session('1'));
  await until(() => heard.states.length === 1);
  context.mock.timers.tick(2_000);
  await assert.rejects(first, UNAVAILABLE);
  await rm(path);
  await log.reopen();
  await until(() => heard.states.length === 2);
  log.checkWritable();
  assert.deepEqual(named(await linesOf(path)), ['records_lost']);
});

test('with continue and a full disk sessions go on, and their records wait', async context => {
  const path = freshPath();
  await symlink('/dev/full', path);
  const { log, heard } = await openLog(context, { target: path, failure: 'continue' });
  await log.started(session('1'));
  log.ended({ ...session('1'), ...END });
  await until(() => heard.states.length === 1);
  log.checkWritable();
  await log.started(session('2'));
  await rm(path);
  await log.reopen();
  await until(() => heard.results.length === 3);
  assert.deepEqual(named(await linesOf(path)), ['session_started 1', 'session_ended 1', 'session_started 2']);
  assert.deepEqual(heard.states, ['problem', 'recovered']);
});

test('a signal to open the file anew is heard while a write is under way that fails', async context => {
  fakeTimers(context);
  const path = freshPath();
  await symlink('/dev/full', path);
  const { log, heard } = await openLog(context, { target: path });
  log.refused(REFUSAL);
  fs.rmSync(path);
  await log.reopen();
  await until(() => heard.results.length === 1);
  log.refused(REFUSAL);
  await until(() => heard.results.length === 2);
  assert.deepEqual(named(await linesOf(path)), ['refused', 'refused']);
});

test('a line of which a part was written is written again, whole and on a line of its own', async context => {
  fakeTimers(context);
  const path = freshPath();
  const older = `{"event":"older","fill":"${'x'.repeat(4000)}"}\n`;
  await writeFile(path, older);
  const { log, heard } = await openLog(context, { target: path });
  // The file may grow by a hundred bytes: the first write is cut there, the next one fails.
  const limit = (bytes: string): unknown =>
    execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${bytes}:`], { stdio: 'pipe' });
  limit(String(older.length + 100));
  let first: Promise<void>;
  try {
    first = log.started(session('1'));
    await until(() => heard.states.length === 1);
  } finally {
    limit('unlimited');
  }
  assert.match(heard.problems[0] ?? '', /EFBIG/);
  context.mock.timers.tick(100); // the first pause
  await first;
  const [, torn = '', ...lines] = (await readFile(path, 'utf8')).split('\n');
  assert.equal(torn.length, 100);
  assert.deepEqual(named(parse(lines.join('\n'))), ['session_started 1']);
  assert.deepEqual(heard.states, ['problem', 'recovered']);
});

test('the pauses between tries grow to 5 s', async context => {
  fakeTimers(context);
  const { log, heard } = await openLog(context, { target: '/dev/full', failure: 'continue' });
  const pauses: number[] = [];
  const { setTimeout: scheduled } = globalThis;
  const spy = context.mock.method(globalThis, 'setTimeout', (step: () => void, delayMs: number) => {
    pauses.push(delayMs);
    return scheduled(step, delayMs);
  });
  log.refused(REFUSAL);
  await until(() => heard.states.length === 1);
  for (let tries = 2; tries <= 9; tries++) {
    context.mock.timers.tick(5_000);
    await until(() => pauses.length > tries);
  }
  spy.mock.restore(); // before the timers it wraps are the real ones again
  const [stall, ...rest] = pauses;
  assert.equal(stall, 2_000);
  assert.deepEqual(rest.slice(0, 8), [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
});

test('with refuse a log that takes nothing stops sessions after 2 s, and lets them on when it takes lines again', async context => {
  fakeTimers(context);
  const pipe = namedPipe(context);
  const { log, heard } = await openLog(context, { target: pipe.path });
  pipe.fill();
  const first = log.started(session('1'));
  first.catch(() => undefined);
  await nextTurn();
  context.mock.timers.tick(1_999);
  log.checkWritable();
  assert.deepEqual(heard.states, []);
  context.mock.timers.tick(1);
  await assert.rejects(first, UNAVAILABLE);
  assert.throws(() => log.checkWritable(), UNAVAILABLE);
  assert.match(heard.problems[0] ?? '', /nothing that was to be written has been taken for 2 s/);

  await until(() => heard.results.length === 1); // it has been taken back
  let text = pipe.read();
  while (heard.states.length < 2) {
    context.mock.timers.tick(50);
    await nextTurn();
  }
  await log.started(session('2'));
  text += pipe.read();
  assert.deepEqual(named(parse(text)), ['records_lost', 'session_started 2']);
});

test('a reader of a pipe that is slow gets every line whole', async context => {
  fakeTimers(context);
  const pipe = namedPipe(context);
  const { log, heard } = await openLog(context, { target: pipe.path, failure: 'continue' });
  const command = ['x'.repeat(10_000)];
  const ids = Array.from({ length: 60 }, (_, at) => String(at));
  for (const id of ids) await log.started(session(id, { command }));
  for (let turn = 0; turn < 50; turn++) await nextTurn(); // the pipe is full
  let text = '';
  while (heard.results.length < ids.length) {
    await nextTurn();
    text += pipe.read();
    context.mock.timers.tick(50);
  }
  text += pipe.read();
  assert.deepEqual(
    named(parse(text)),
    ids.map(id => `session_started ${id}`),
  );
  assert.ok(!heard.problems.some(problem => problem.includes('EAGAIN')), 'that a pipe is full is no problem in itself');
});

test('a start that is given up when a pipe has a part of it arrives whole', async context => {
  fakeTimers(context);
  const pipe = namedPipe(context);
  const { log, heard } = await openLog(context, { target: pipe.path });
  pipe.fill();
  pipe.readPage();
  const start = log.started(session('1', { command: ['x'.repeat(10_000)] }));
  context.mock.timers.tick(2_000);
  await assert.rejects(start, UNAVAILABLE);
  for (let turn = 0; turn < 50; turn++) await nextTurn(); // the page has been taken
  let text = '';
  while (heard.results.length < 1) {
    text += pipe.read();
    context.mock.timers.tick(50);
    await nextTurn();
  }
  text += pipe.read();
  assert.deepEqual(named(parse(text)), ['session_started 1']);
});

test('what has been written makes room', async context => {
  const { log, heard } = await openLog(context);
  const command = ['x'.repeat(15_000)];
  for (let at = 0; at < 400; at++) await log.started(session(String(at), { command }));
  log.refused(REFUSAL);
  assert.ok(heard.results.every(result => result === 'written'));
});

test('a flood of refusals leaves half of the queue to sessions, and what was lost is told', async context => {
  fakeTimers(context);
  const pipe = namedPipe(context);
  const { log, heard } = await openLog(context, { target: pipe.path, failure: 'continue' });
  pipe.fill();
  const flood = 20_000;
  for (let at = 0; at < flood; at++) log.refused({ ...REFUSAL, message: 'x'.repeat(1000) });
  const dropped = heard.results.filter(result => result === 'dropped').length;
  assert.ok(dropped > flood / 2, String(dropped));
  const command = ['x'.repeat(15_000)];
  for (let at = 0; at < 100; at++) await log.started(session(String(at), { command }));
  assert.equal(heard.results.length, dropped, 'no session is dropped');

  let text = '';
  while (heard.results.length < flood + 100) {
    await nextTurn();
    text += pipe.read();
    context.mock.timers.tick(50);
  }
  await log.close();
  text += pipe.read();
  const lines = parse(text);
  const count = (event: string): number => lines.filter(line => line.event === event).length;
  assert.equal(count('session_started'), 100);
  assert.equal(count('refused'), flood - dropped);
  assert.deepEqual(
    lines.filter(line => line.event === 'records_lost').map(line => line.count),
    [dropped],
  );
});

for (const failure of ['refuse', 'continue'] as const) {
  test(`the queue has a bound for sessions too: with ${failure} they are ${failure === 'refuse' ? 'refused' : 'counted'}`, async context => {
    fakeTimers(context);
    const pipe = namedPipe(context);
    const { log, heard } = await openLog(context, { target: pipe.path, failure });
    pipe.fill();
    const command = ['x'.repeat(15_000)];
    const starts = Array.from({ length: 400 }, (_, at) => log.started(session(String(at), { command })));
    const settled = Promise.allSettled(starts);
    assert.ok(heard.results.length > 100 && heard.results.length < 200, String(heard.results.length));
    assert.ok(heard.results.every(result => result === 'dropped'));
    context.mock.timers.tick(2_000);
    const refused = (await settled).filter(({ status }) => status === 'rejected').length;
    assert.equal(refused, failure === 'refuse' ? 400 : 0);
    if (failure === 'continue') return;
    await until(() => heard.results.length === 400);
    log.refused(REFUSAL);
    assert.equal(heard.results.length, 400, 'what was given up makes room');
  });
}

test('close gives up after 2 s, and says what has not been written', async context => {
  fakeTimers(context);
  const pipe = namedPipe(context);
  const { log, heard } = await openLog(context, { target: pipe.path });
  pipe.fill();
  const start = log.started(session('1'));
  start.catch(() => undefined);
  log.ended({ ...session('0'), ...END });
  const closed = log.close();
  context.mock.timers.tick(2_000);
  await closed;
  await assert.rejects(start, UNAVAILABLE);
  log.ended({ ...session('1'), ...END });
  assert.deepEqual(heard.results, ['failed', 'failed', 'dropped']);
});

test('a daemon that is killed loses nothing that was written, and leaves whole lines but perhaps the last', async () => {
  const path = freshPath();
  const writer = `
    const { SessionLog } = await import(${JSON.stringify(MODULE)});
    const nothing = () => undefined;
    const log = await SessionLog.open({ target: ${JSON.stringify(path)}, failure: 'refuse', redact: [],
      onRecord: nothing, onProblem: nothing, onRecovered: nothing });
    const session = ${JSON.stringify(session('?', { command: ['x'.repeat(5_000)] }))};
    for (let at = 0; ; at++) {
      await Promise.all([1, 2, 3].map(async of => {
        const id = at + '.' + of;
        await log.started({ ...session, session: id });
        process.stdout.write(id + '\\n');
      }));
    }`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', writer], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const told: string[] = [];
  for await (const id of createInterface({ input: child.stdout })) {
    told.push(id);
    if (told.length === 500) child.kill('SIGKILL');
  }
  const lines = (await readFile(path, 'utf8')).split('\n');
  lines.pop(); // nothing, or the one that was cut
  const sessions = new Set(lines.map(line => (JSON.parse(line) as Line).session));
  assert.ok(told.length >= 500);
  assert.deepEqual(
    told.filter(id => !sessions.has(id)),
    [],
  );
});

test('stdout carries the ready line and the records, each whole, to a pipe or a file', async () => {
  const writer = `
    const { SessionLog } = await import(${JSON.stringify(MODULE)});
    const nothing = () => undefined;
    const log = await SessionLog.open({ target: '-', failure: 'refuse', redact: [],
      onRecord: nothing, onProblem: nothing, onRecovered: nothing });
    const session = ${JSON.stringify(session('?', { command: ['x'.repeat(10_000)] }))};
    await log.started({ ...session, session: 'before' });
    process.stdout.write('{"event":"ready"}\\n');
    await log.reopen();
    for (let at = 0; at < 30; at++) await log.started({ ...session, session: String(at) });
    await log.close();`;
  const expected = [
    'session_started before',
    'ready',
    ...Array.from({ length: 30 }, (_, at) => `session_started ${at}`),
  ];
  const run = (stdout: 'pipe' | number): ReturnType<typeof spawn> =>
    spawn(process.execPath, ['--input-type=module', '-e', writer], { stdio: ['ignore', stdout, 'inherit'] });

  const piped = run('pipe');
  assert.ok(piped.stdout);
  assert.deepEqual(named(parse((await piped.stdout.setEncoding('utf8').toArray()).join(''))), expected);

  const path = freshPath();
  const file = fs.openSync(path, 'w');
  const { promise: ended, resolve } = Promise.withResolvers<unknown>();
  run(file).on('close', resolve);
  await ended;
  fs.closeSync(file);
  assert.deepEqual(named(await linesOf(path)), expected);
});
