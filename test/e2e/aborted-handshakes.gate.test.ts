import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { within } from '../../src/within.ts';
import { countsOf, quietInsides } from '../support/quiet-insides.ts';
import { gateSize, times } from '../support/gates.ts';
import { Random } from '../support/random.ts';
import { execPath, rawExec, TRANSPORTS, type Transport } from '../support/raw-exec.ts';
import { SPDY_STREAMS, upgradeRequest } from '../support/raw-upgrade.ts';
import { reset } from '../support/reset.ts';
import { serveWeb } from '../support/served.ts';
import { dataFrame } from '../support/spdy-client.ts';

// Clients that leave at every point of a session. Nothing of them may stay: not in the daemon, not in the Engine.

const ROUNDS = gateSize({ full: 10_000, short: 600 });
/** What the daemon allocates once: caches, compiled code, pools of the runtime. */
const WARM_UP_ROUNDS = 300;
const CONCURRENCY = 4;
/** The Engine starts an exec more slowly than a client leaves; so many may wait for it. */
const BATCH = 20;
/** For one client. */
const PATIENCE_MS = 60_000;
const HEAP_SLACK_BYTES = 2 * 1024 * 1024;
/** The last sessions end, the Engine answers calls whose clients have left, idle connections to it time out. */
const QUIET_WITHIN_MS = 120_000;

const served = serveWeb({ insides: true, args: ['--log-level', 'debug', '--engine-timeout', '60s'] });

/** SPDY has every one of them; over WebSocket the first frames follow the 101. */
const POINTS = [
  'in the TCP connect',
  'in the request line',
  'in the headers',
  'behind the request',
  'after the 101',
  'between its streams',
  'in its first frames',
  'in the middle of its input',
  'in the middle of its output',
] as const;
type Point = (typeof POINTS)[number];

const LEAVE = ['by RST', 'by FIN', 'by half a frame and RST'] as const;

test(`${ROUNDS} clients that leave at random points: the daemon and the Engine are as before`, async context => {
  const { daemon } = served;
  await times(WARM_UP_ROUNDS, CONCURRENCY, async index => {
    if (index % BATCH === 0) await engineIsFree();
    await leaveAtSomePoint(new Random(-index - 1));
  });
  const before = await quietInsides(daemon, { withinMs: QUIET_WITHIN_MS, isFree });
  const seen = new Map<Point, number>();
  await times(ROUNDS, CONCURRENCY, async index => {
    if (index % BATCH === 0) await engineIsFree();
    const point = await leaveAtSomePoint(new Random(index));
    seen.set(point, (seen.get(point) ?? 0) + 1);
  });
  const after = await quietInsides(daemon, { withinMs: QUIET_WITHIN_MS, isFree, before });
  context.diagnostic(`left ${POINTS.map(point => `${point}: ${seen.get(point) ?? 0}`).join(', ')}`);
  context.diagnostic(`before ${JSON.stringify(before)}`);
  context.diagnostic(`after  ${JSON.stringify(after)}`);

  assert.deepEqual(countsOf(after), countsOf(before));
  const grown = after.heapBytes - before.heapBytes;
  assert.ok(grown < HEAP_SLACK_BYTES, `the heap has grown by ${grown} bytes`);
  const left = daemon.log.filter(({ message }) => message === 'an exec is left in the Engine');
  assert.deepEqual(left, []);
  assert.equal(await execsLeft(), 0);
  const started = daemon.log.filter(({ message }) => message === 'session started').length;
  context.diagnostic(`${started} sessions had started`);
  assert.equal(daemon.sessionsEnded().length, started);
  assert.deepEqual(
    daemon.log.filter(({ level }) => level === 'error'),
    [],
  );
  for (const transport of TRANSPORTS) {
    const { stdout } = await rawExec(transport, { port: daemon.port, command: ['echo', 'hi'] });
    assert.equal(stdout.toString(), 'hi\n');
  }
});

/** Does as much of a session as leads to a point that chance names, and leaves. Answers where. */
async function leaveAtSomePoint(random: Random): Promise<Point> {
  const transport: Transport = random.chance(0.5) ? 'spdy' : 'websocket';
  const point: Point = POINTS[random.below(POINTS.length)] ?? 'in the headers';
  const how = LEAVE[random.below(LEAVE.length)] ?? 'by RST';
  const client = new LeavingClient(transport);
  const where = `${point}, ${how}, ${transport}`;
  const left = client.comeTo(point, random).then(() => client.leave(how, random));
  assert.ok(await within(PATIENCE_MS, left), `${where}: neither came that far nor left within ${PATIENCE_MS} ms`);
  return point;
}

class LeavingClient {
  readonly #transport: Transport;
  readonly #socket: Socket;
  readonly #closed: Promise<unknown>;
  #received: Buffer = Buffer.alloc(0);

  constructor(transport: Transport) {
    this.#transport = transport;
    this.#socket = connect(served.daemon.port, '127.0.0.1');
    this.#socket.on('error', () => undefined);
    this.#socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
    });
    this.#closed = new Promise(resolve => this.#socket.once('close', resolve)); // `once` would reject at a reset
  }

  async comeTo(point: Point, random: Random): Promise<void> {
    if (point === 'in the TCP connect') return;
    await once(this.#socket, 'connect');
    const request = Buffer.from(upgradeRequest(this.#transport, PATH));
    const firstLine = request.indexOf('\r\n');
    if (point === 'in the request line') this.#write(request.subarray(0, random.below(firstLine)));
    else if (point === 'in the headers') {
      this.#write(request.subarray(0, firstLine + random.below(request.length - firstLine)));
    } else this.#write(request);
    if (['in the request line', 'in the headers', 'behind the request'].includes(point)) return;
    await this.#until(() => this.#received.includes('\r\n\r\n'));
    if (point === 'after the 101') return;
    const [spdy, first] = [this.#transport === 'spdy', Buffer.concat(this.#firstFrames())];
    if (point === 'between its streams' && spdy) {
      const streams = 1 + random.below(SPDY_STREAMS.length);
      for (let opened = 1; opened <= streams; opened += 1) {
        this.#write(SPDY_STREAMS[opened - 1] ?? Buffer.alloc(0));
        await this.#until(() => this.#frames() >= opened);
      }
    } else if (point === 'in its first frames' || point === 'between its streams') {
      this.#write(first.subarray(0, 1 + random.below(first.length)));
    } else {
      this.#write(first);
      const before = this.#received.length;
      for (let sent = 0; sent < INPUT_BYTES; sent += MESSAGE.length) this.#write(this.#input(MESSAGE));
      if (point === 'in the middle of its output') {
        const some = before + random.below(INPUT_BYTES / 2);
        await this.#until(() => this.#received.length > some || this.#received.includes('"status":"Failure"'));
        assert.ok(this.#received.length > some, this.#received.toString());
      }
    }
  }

  async leave(how: (typeof LEAVE)[number], random: Random): Promise<void> {
    if (random.chance(0.5)) await new Promise(setImmediate);
    if (how === 'by FIN') this.#socket.end();
    else {
      if (how === 'by half a frame and RST') this.#write(this.#input(MESSAGE).subarray(0, 1 + random.below(1_000)));
      reset(this.#socket);
    }
    await this.#closed; // after our FIN when the daemon has closed too
  }

  #write(bytes: Buffer): void {
    if (this.#socket.writable) this.#socket.write(bytes);
  }

  /** SPDY's streams; over WebSocket some input. */
  #firstFrames(): Buffer[] {
    return this.#transport === 'spdy' ? SPDY_STREAMS : [this.#input(Buffer.from('hello'))];
  }

  #input(bytes: Buffer): Buffer {
    if (this.#transport === 'spdy') return dataFrame(STDIN_STREAM, bytes, false);
    const header = Buffer.alloc(9); // binary, masked with zeros, 16 bits of length, and the channel 0
    header.writeUInt16BE(0x82fe, 0);
    header.writeUInt16BE(bytes.length + 1, 2);
    return Buffer.concat([header, bytes]);
  }

  /** How many SPDY frames have arrived whole. */
  #frames(): number {
    let count = 0;
    for (let at = this.#received.indexOf('\r\n\r\n') + 4; at + 8 <= this.#received.length; count += 1) {
      at += 8 + this.#received.readUIntBE(at + 5, 3);
      if (at > this.#received.length) break;
    }
    return count;
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      const closed = this.#closed.then(() => assert.fail(`closed after ${JSON.stringify(this.#received.toString())}`));
      await Promise.race([once(this.#socket, 'data'), closed]);
    }
  }
}

const PATH = execPath({ command: ['cat'], tty: false, input: true });
const STDIN_STREAM = 3;
const INPUT_BYTES = 256 * 1024;
const MESSAGE = Buffer.alloc(16 * 1024, 'execlet ');

async function engineIsFree(): Promise<void> {
  const deadline = Date.now() + QUIET_WITHIN_MS;
  for (let left = await execsLeft(); left > 0; left = await execsLeft()) {
    assert.ok(Date.now() < deadline, `${left} execs are left in the Engine`);
    await delay(20);
  }
}

const isFree = async (): Promise<boolean> => (await execsLeft()) === 0;

async function execsLeft(): Promise<number> {
  const { ExecIDs } = await served.web.docker.inspect();
  return (ExecIDs as string[] | null)?.length ?? 0;
}
