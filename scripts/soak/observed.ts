import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { reset } from '../../test/support/reset.ts';
import type { Input, Reset, SessionPlan } from './session-plan.ts';

/** What became of one session, as its client saw it. */
export interface Observed {
  /** The HTTP status of a refusal. */
  readonly refused?: number;
  /** The client went away, as planned. */
  readonly left: boolean;
  readonly protocol: string;
  readonly stdout: Received;
  readonly stderr: Received;
  readonly errorStream: string;
  /** What the transport did that it may not do: streams that were cut off, a close code, a second Status. */
  readonly flaws: readonly string[];
  readonly sentBytes: number;
}

const BEGINNING_BYTES = 200;

/** One output as it arrives: hashed, counted and forgotten. */
export class Received {
  bytes = 0;
  /** Where it first was not what the source has; only for the message, the hash decides. */
  differsAt: number | undefined;
  /** How it begins; for the message too. */
  beginning = '';
  readonly #expected: Buffer;
  readonly #hash = createHash('sha256');

  constructor(expected: Buffer = Buffer.alloc(0)) {
    this.#expected = expected;
  }

  take(chunk: Buffer): void {
    this.#hash.update(chunk);
    if (this.bytes < BEGINNING_BYTES) this.beginning += chunk.toString('latin1', 0, BEGINNING_BYTES - this.bytes);
    const wanted = this.#expected.subarray(this.bytes, this.bytes + chunk.length);
    if (this.differsAt === undefined && !chunk.equals(wanted)) {
      const at = chunk.findIndex((byte, index) => byte !== wanted[index]);
      this.differsAt = this.bytes + at;
    }
    this.bytes += chunk.length;
  }

  /** Whether exactly those bytes arrived. To be called once, when nothing more comes. */
  is(expected: Buffer): boolean {
    return this.#hash.copy().digest('hex') === createHash('sha256').update(expected).digest('hex');
  }
}

/** A pair of outputs for a plan. */
export function receivedFor({ expected }: SessionPlan): { stdout: Received; stderr: Received } {
  if (!('stdout' in expected)) return { stdout: new Received(), stderr: new Received() };
  return { stdout: new Received(expected.stdout), stderr: new Received(expected.stderr) };
}

/** What is paused for a reader that is slower than the network. */
export interface Pausable {
  pause(): void;
  resume(): void;
}

/** Reads at the plan's speed: pauses at the start, and whenever more was read than that speed allows. */
export class ReaderPace {
  readonly #socket: Pausable;
  readonly #bytesPerSecond: number;
  readonly #startedAt = Date.now();
  #read = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(socket: Pausable, { pauseMs, bytesPerSecond }: SessionPlan['reader']) {
    this.#socket = socket;
    this.#bytesPerSecond = bytesPerSecond ?? Infinity;
    if (pauseMs > 0) this.#pause(pauseMs);
  }

  took(bytes: number): void {
    this.#read += bytes;
    const aheadMs = (this.#read / this.#bytesPerSecond) * 1000 - (Date.now() - this.#startedAt);
    if (aheadMs > 10) this.#pause(aheadMs);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #pause(ms: number): void {
    this.#socket.pause();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#socket.resume(), ms);
  }
}

/** The plan's input in its chunks and at its speed, until `over` says that nobody reads any more. */
export async function* inputChunks(
  { bytes, chunkBytes, bytesPerSecond = Infinity }: Input,
  over: () => boolean,
): AsyncGenerator<Buffer, void> {
  const startedAt = Date.now();
  for (let at = 0; at < bytes.length && !over(); at += chunkBytes) {
    const aheadMs = (at / bytesPerSecond) * 1000 - (Date.now() - startedAt);
    if (aheadMs > 10) await delay(aheadMs);
    yield bytes.subarray(at, at + chunkBytes);
  }
}

/** Goes away without a farewell. */
export function leave(socket: Socket | Duplex, { hard }: Reset): void {
  if (hard) reset(socket);
  else socket.destroy();
}

/** Path and query in the kubelet's form. */
export function execPath({ pod, command, stdin, stderr, tty }: SessionPlan): string {
  const query = new URLSearchParams();
  for (const argument of command) query.append('command', argument);
  query.append('output', '1');
  if (stdin !== undefined) query.append('input', '1');
  if (stderr) query.append('error', '1');
  if (tty) query.append('tty', '1');
  return `/exec/default/${pod}/app?${query.toString()}`;
}
