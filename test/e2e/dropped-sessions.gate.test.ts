import assert from 'node:assert/strict';
import type { Duplex } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { within } from '../../src/within.ts';
import { askApi } from '../support/api.ts';
import { Daemon } from '../support/daemon.ts';
import { gateSize, times } from '../support/gates.ts';
import { countsOf, quietInsides } from '../support/quiet-insides.ts';
import { Random } from '../support/random.ts';
import { dialSpdy } from '../support/spdy-client.ts';
import {
  StandInEngine,
  stdcopyFrame,
  type EngineFault,
  type ExecCall,
  type StandInExec,
} from '../support/stand-in-engine.ts';
import { WebSocketClient } from '../support/websocket-client.ts';

// Sessions that are dropped in every state, before an Engine that fails at each of its calls: nothing of them may stay.

const SESSIONS = gateSize({ full: 10_000, short: 1_000 });
/** What the daemon allocates once, and the sessions that it remembers. */
const WARM_UP_SESSIONS = 400;
const CONCURRENCY = 16;
const QUIET_WITHIN_MS = 60_000;
const HEAP_SLACK_BYTES = 2 * 1024 * 1024;
/** For one session. */
const PATIENCE_MS = 30_000;
/** The most that a client waits before it leaves; the slow calls of the Engine take a third of it. */
const STAY_MS = 120;
/** Of no process. */
const NO_PID = 4_194_303;

/** What goes wrong with an exec: one of the Engine's calls, its stream, or nothing. */
const FAULTS: readonly (readonly [call: ExecCall, fault: EngineFault] | 'broken stream' | 'bad frame' | 'none')[] = [
  ...(['create', 'start', 'inspect', 'resize'] as const).flatMap(call =>
    ([500, 404, 409, 'cut off', 'unanswered'] as const).map(fault => [call, fault] as const),
  ),
  'broken stream',
  'bad frame',
  ...Array.from({ length: 12 }, () => 'none' as const),
];
const POINTS = [
  'in the handshake',
  'at some time',
  'while output flows',
  'while it does not read',
  'after the exit',
] as const;
const LEAVES = ['by a reset', 'by a close', 'ended by an administrator'] as const;

/** The states in which an administrator has ended one. */
const states = new Set<string>();

test(`${SESSIONS} sessions that are dropped in every state, with faults of the Engine: the daemon is as before`, async context => {
  const engine = await StandInEngine.start({
    play,
    fault: (call, [index = '']) => {
      const fault = planOf(Number(index)).fault;
      return typeof fault === 'object' && fault[0] === call ? fault[1] : undefined;
    },
    holdCreate: () => delay(STAY_MS / 3),
    holdStart: () => delay(STAY_MS / 3),
    inspect: ({ command: [index = ''] }) => ({
      Running: Number(index) % 2 === 0,
      ExitCode: Number(index) % 2 === 0 ? null : 137,
      Pid: NO_PID,
    }),
  });
  const args = [
    '--max-sessions-per-container',
    '1000',
    '--engine-timeout',
    '500ms',
    '--kill-grace-period',
    '100ms',
    '--stream-creation-timeout',
    '1s',
  ];
  const daemon = await Daemon.start({ engine, args, insides: true });
  context.after(async () => {
    await daemon.stop();
    await engine.stop();
  });

  await times(WARM_UP_SESSIONS, CONCURRENCY, index => dropOne(daemon, index));
  // Some clients say goodbye and read nothing any more, and wait half a minute for the answer.
  const isFree = async (): Promise<boolean> => (await sessionsOf(daemon)).every(({ state }) => state === 'ended');
  const before = await quietInsides(daemon, { withinMs: QUIET_WITHIN_MS, isFree });
  await times(SESSIONS, CONCURRENCY, index => dropOne(daemon, WARM_UP_SESSIONS + index));
  const after = await quietInsides(daemon, { withinMs: QUIET_WITHIN_MS, before });
  context.diagnostic(`before ${JSON.stringify(before)}`);
  context.diagnostic(`after  ${JSON.stringify(after)}`);

  assert.deepEqual(countsOf(after), countsOf(before));
  const grown = after.heapBytes - before.heapBytes;
  assert.ok(grown < HEAP_SLACK_BYTES, `the heap has grown by ${grown} bytes`);
  assert.deepEqual([...states].sort(), ['accepted', 'admitted', 'created', 'draining', 'started']);
  assert.deepEqual(new Set((await sessionsOf(daemon)).map(({ state }) => state)), new Set(['ended']));
  assert.deepEqual(
    daemon.log.filter(({ level }) => level === 'error'),
    [],
  );
});

interface Plan {
  readonly transport: 'spdy' | 'websocket';
  readonly tty: boolean;
  readonly fault: (typeof FAULTS)[number];
  readonly point: (typeof POINTS)[number];
  readonly leave: (typeof LEAVES)[number];
  readonly stayMs: number;
}

/** The same for an index, whoever asks. */
function planOf(index: number): Plan {
  const random = new Random(index);
  return {
    transport: random.chance(0.5) ? 'spdy' : 'websocket',
    tty: random.chance(0.5),
    fault: FAULTS[random.below(FAULTS.length)] ?? 'none',
    point: POINTS[random.below(POINTS.length)] ?? 'at some time',
    leave: LEAVES[random.below(LEAVES.length)] ?? 'by a reset',
    stayMs: random.below(STAY_MS),
  };
}

/** Plays a command that prints without end, or until its session's plan says that it exits, or breaks. */
function play(connection: Duplex, exec: StandInExec): void {
  const {
    command: [index = ''],
    created,
  } = exec;
  const { fault, point } = planOf(Number(index));
  const chunk = Buffer.alloc(16 * 1024, 'x');
  const output = created.Tty ? chunk : stdcopyFrame(1, chunk);
  const printing = setInterval(() => connection.write(output), 2);
  connection.on('close', () => clearInterval(printing));
  const after = (ms: number, what: () => void): void => {
    const timer = setTimeout(what, ms);
    connection.on('close', () => clearTimeout(timer));
  };
  if (fault === 'broken stream') after(10, () => connection.destroy());
  if (fault === 'bad frame') after(10, () => connection.write(stdcopyFrame(9, 'nonsense')));
  if (point !== 'after the exit') return;
  after(20, () => {
    connection.end();
    exec.sendExit(0);
  });
}

/** A client of one session. */
interface Client {
  pause(): void;
  reset(): void;
  close(): void;
  /** Resolves when some output has come, or the session has ended. */
  readonly output: Promise<unknown>;
}

async function dropOne(daemon: Daemon, index: number): Promise<void> {
  const plan = planOf(index);
  assert.ok(await within(PATIENCE_MS, drop(daemon, index, plan)), `session ${index}: ${JSON.stringify(plan)}`);
}

async function drop(daemon: Daemon, index: number, { transport, tty, point, leave, stayMs }: Plan): Promise<void> {
  const path = `/exec/default/web/app?command=${index}&input=1&output=1&${tty ? 'tty=1' : 'error=1'}`;
  const inHandshake = point === 'in the handshake';
  const client =
    transport === 'spdy'
      ? await overSpdy(daemon.port, path, { tty, inHandshake })
      : await overWebSocket(daemon.port, path, tty);
  if (point === 'while output flows' || point === 'while it does not read') await within(STAY_MS, client.output);
  if (point === 'while it does not read' || point === 'after the exit') client.pause();
  await delay(stayMs);
  if (leave === 'ended by an administrator') await endByAdministrator(daemon, index);
  if (leave === 'by a close') client.close();
  else client.reset();
}

async function endByAdministrator(daemon: Daemon, index: number): Promise<void> {
  const session = (await sessionsOf(daemon)).find(({ program }) => program === String(index));
  if (session === undefined || session.state === 'ended') return;
  const { status } = await askApi(daemon, `/execlet/v1/sessions/${session.id}`, 'DELETE');
  assert.ok(status === 200 || status === 409, String(status));
  states.add(session.state);
}

async function sessionsOf(daemon: Daemon): Promise<{ id: string; program: string; state: string }[]> {
  const { body } = await askApi(daemon, '/execlet/v1/sessions');
  return (body as { sessions: { id: string; program: string; state: string }[] }).sessions;
}

async function overSpdy(port: number, path: string, of: { tty: boolean; inHandshake: boolean }): Promise<Client> {
  const { client, reset, status } = await dialSpdy({ port, path, protocols: ['v4.channel.k8s.io'] });
  assert.ok(client !== undefined, String(status));
  let output: Promise<unknown> = client.closed;
  if (!of.inHandshake) {
    await client.open({ streamtype: 'error' });
    await client.open({ streamtype: 'stdin' });
    const stdout = await client.open({ streamtype: 'stdout' });
    const last = await client.open({ streamtype: of.tty ? 'resize' : 'stderr' });
    if (of.tty) await last.write('{"Width":80,"Height":24}');
    output = client.until(() => stdout.received.length > 0 || stdout.over);
  }
  return { pause: () => client.pause(), reset, close: () => client.end(), output };
}

async function overWebSocket(port: number, path: string, tty: boolean): Promise<Client> {
  const client = await WebSocketClient.open({
    url: `ws://127.0.0.1:${port}${path}`,
    protocols: ['v5.channel.k8s.io'],
  });
  if (tty) void client.send(4, Buffer.from('{"Width":80,"Height":24}'));
  return {
    pause: () => client.pause(),
    reset: client.reset,
    close: () => client.close(),
    output: client.until(() => client.receivedBytes(1) > 0),
  };
}
