import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { before, after, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { WebSocket } from 'ws';
import type { Daemon } from './daemon.ts';
import type { Served } from './served.ts';
import { execOverWebSocket } from './websocket-client.ts';

const MIB = 1024 * 1024;

/**
 * What the daemon's resident memory may grow by under an attack, unless the attack says otherwise. Most of it is not held but
 * waits to be collected: every read of a socket brings a fresh buffer of up to 64 KiB, and Node's collector runs when some
 * 32 to 64 MiB of them have piled up. What matters is that an attack pushes several times as much as this, or is repeated until
 * a leak of a few hundred kilobytes each would show.
 */
export const GROWTH_BYTES = 96 * MIB;
/** The longest that another session may have to wait for an echo while an attack goes on, on a busy machine. */
const ECHO_TIMEOUT_MS = 2_000;
/** For the daemon to be rid of a connection that it has refused, with its bounded waits for the peer. */
const CLOSE_TIMEOUT_MS = 12_000;

/** One way to attack. It must itself assert the refusal, and that the daemon closed its connection. */
export interface Attack {
  /** Sent over and over by that many clients, one after the other. */
  readonly times?: number;
  /** Instead of GROWTH_BYTES. */
  readonly growthBytes?: number;
  readonly run: () => Promise<void>;
}

/**
 * The other sessions of a daemon that is attacked: one that echoes all the while, over the same connection, and a new one after
 * each attack. To be called at the top of a test file.
 */
export function witnessed(served: Served): (context: TestContext, attack: Attack) => Promise<void> {
  let witness: Witness | undefined;
  before(async () => {
    witness = await Witness.start(await started(served));
  });
  after(() => witness?.end());
  return async (context, { run, times = 1, growthBytes = GROWTH_BYTES }) => {
    assert.ok(witness !== undefined);
    const { daemon } = served;
    await witness.echoes();
    const watching = witness.watch();
    const memory = await Memory.of(daemon.pid);
    try {
      for (let time = 0; time < times; time += 1) await run();
    } finally {
      await watching.stop();
    }
    const grown = await memory.grownBytes();
    const slowest = await watching.stop();
    await witness.echoes();
    await serves(daemon);
    await onlyTheWitnessIsConnected(daemon);
    context.diagnostic(`${times} times: ${(grown / MIB).toFixed(1)} MiB, slowest echo ${slowest.toFixed(0)} ms`);
    assert.ok(grown <= growthBytes, `the daemon grew by ${(grown / MIB).toFixed(1)} MiB`);
    assert.ok(slowest <= ECHO_TIMEOUT_MS, `another session had to wait for ${slowest.toFixed(0)} ms`);
  };
}

/** `before` hooks of one file run at the same time: the parts of `served` come in their own time. */
async function started(served: Served): Promise<Daemon> {
  for (;;) {
    try {
      return served.daemon;
    } catch {
      await delay(20);
    }
  }
}

/** Asks for a new session. */
export async function serves(daemon: Daemon): Promise<void> {
  const { stdout, closeCode } = await execOverWebSocket({
    url: `${daemon.url.replace('http', 'ws')}/exec/default/web/app?command=echo&command=hi&output=1`,
    protocols: ['v5.channel.k8s.io'],
  });
  assert.deepEqual([stdout.toString(), closeCode], ['hi\n', 1000]);
}

/** A session of `cat`. */
class Witness {
  readonly #webSocket: WebSocket;
  #heard = '';
  #count = 0;

  private constructor(webSocket: WebSocket) {
    this.#webSocket = webSocket;
    webSocket.on('message', (message: Buffer) => {
      if (message[0] === 1) this.#heard += message.toString('latin1', 1);
    });
  }

  static async start(daemon: Daemon): Promise<Witness> {
    const url = `${daemon.url.replace('http', 'ws')}/exec/default/web/app?command=cat&input=1&output=1`;
    const webSocket = new WebSocket(url, ['v5.channel.k8s.io']);
    const witness = new Witness(webSocket);
    await once(webSocket, 'open');
    return witness;
  }

  /** Sends a line and waits for it; answers how long it took. */
  async echoes(): Promise<number> {
    const line = `line ${(this.#count += 1)}\n`;
    const askedAt = performance.now();
    this.#heard = '';
    this.#webSocket.send(Buffer.from(`\0${line}`));
    const timeout = AbortSignal.timeout(15_000);
    while (this.#heard !== line) await once(this.#webSocket, 'message', { signal: timeout });
    return performance.now() - askedAt;
  }

  /** Echoes until it is told to stop, which answers the slowest echo. */
  watch(): { stop: () => Promise<number> } {
    const watching = new AbortController();
    const slowest = (async () => {
      let slowestMs = 0;
      while (!watching.signal.aborted) {
        slowestMs = Math.max(slowestMs, await this.echoes());
        await delay(5);
      }
      return slowestMs;
    })();
    return {
      stop: () => {
        watching.abort();
        return slowest;
      },
    };
  }

  async end(): Promise<void> {
    const closed = once(this.#webSocket, 'close');
    this.#webSocket.send(Buffer.from([255, 0]));
    const [code] = (await closed) as [number];
    assert.equal(code, 1000, 'the witness ends as any other session');
  }
}

/** How far a process grows. */
class Memory {
  readonly #pid: number;
  readonly #before: number;

  private constructor(pid: number, bytes: number) {
    this.#pid = pid;
    this.#before = bytes;
  }

  static async of(pid: number): Promise<Memory> {
    await writeFile(`/proc/${pid}/clear_refs`, '5'); // the high-water mark starts anew
    return new Memory(pid, await statusBytes(pid, 'VmRSS'));
  }

  /** The peak since then, against what it was then. */
  async grownBytes(): Promise<number> {
    return (await statusBytes(this.#pid, 'VmHWM')) - this.#before;
  }
}

async function statusBytes(pid: number, field: 'VmRSS' | 'VmHWM'): Promise<number> {
  const [, kilobytes] =
    new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(await readFile(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

/** How many connections of clients the daemon has open. */
async function connectionsOf({ pid, port }: Daemon): Promise<number> {
  const lines = (await readFile(`/proc/${pid}/net/tcp`, 'utf8')).split('\n').map(line => line.trim().split(/\s+/));
  const ours = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  // Local address, remote address and state; the inode is 0 once the process has closed it, and the kernel alone goes on.
  return lines.filter(([, local, , state, , , , , , inode]) => local?.endsWith(ours) && state !== '0A' && inode !== '0')
    .length;
}

/** Nothing of an attack may stay open. /proc tells nobody when a connection closes, so it is asked again and again. */
async function onlyTheWitnessIsConnected(daemon: Daemon): Promise<void> {
  const deadline = Date.now() + CLOSE_TIMEOUT_MS;
  for (;;) {
    const others = (await connectionsOf(daemon)) - 1;
    if (others === 0) return;
    assert.ok(Date.now() < deadline, `${others} connections are still open`);
    await delay(20);
  }
}

/** A TCP connection on which a test says what it likes. */
export class RawConnection {
  readonly socket: Socket;
  readonly #chunks: Buffer[] = [];
  readonly #over: Promise<void>;
  #closed = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => undefined); // the close tells of it
    socket.on('data', (chunk: Buffer) => this.#chunks.push(chunk));
    this.#over = new Promise(resolve => {
      const over = (): void => {
        this.#closed = true;
        resolve();
      };
      socket.once('end', over).once('close', over);
    });
  }

  static async open(port: number): Promise<RawConnection> {
    const socket = connect(port, '127.0.0.1');
    const connection = new RawConnection(socket);
    await once(socket, 'connect');
    socket.setNoDelay(true);
    return connection;
  }

  /** Resolves when it has been written, or the daemon has closed: then false. */
  async send(bytes: string | Buffer): Promise<boolean> {
    if (this.#closed || this.socket.destroyed) return false;
    if (!this.socket.write(bytes)) await Promise.race([once(this.socket, 'drain').catch(() => undefined), this.#over]);
    return !this.#closed;
  }

  /** Sends the same over and over; ends early when the daemon closes. */
  async flood(bytes: Buffer, times: number): Promise<void> {
    for (let time = 0; time < times && (await this.send(bytes)); time += 1);
  }

  /** What has arrived, as soon as it satisfies the predicate. */
  async until(predicate: (received: Buffer) => boolean): Promise<Buffer> {
    while (!predicate(this.received) && !this.#closed) {
      await Promise.race([once(this.socket, 'data').catch(() => undefined), this.#over]);
    }
    return this.received;
  }

  /** Everything that has arrived when the daemon closes, which it must do in time. */
  async closedByDaemon(timeoutMs = CLOSE_TIMEOUT_MS): Promise<Buffer> {
    const timer = new AbortController();
    const late = delay(timeoutMs, 'late', { signal: timer.signal }).catch(() => undefined);
    const result = await Promise.race([this.#over, late]);
    timer.abort();
    const { received } = this;
    this.socket.destroy();
    assert.notEqual(
      result,
      'late',
      `the daemon has not closed after ${timeoutMs} ms, only said ${received.toString()}`,
    );
    return received;
  }

  get received(): Buffer {
    return Buffer.concat(this.#chunks);
  }
}
