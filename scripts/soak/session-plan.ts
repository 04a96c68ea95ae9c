import { createHash } from 'node:crypto';
import { constants } from 'node:os';
import { Random } from '../../test/support/random.ts';
import { KILLING_SIGNALS } from '../../test/support/signals.ts';
import { SOURCE_PATH } from './source-bytes.ts';

// What one session does and what must come of it, drawn from the seed and the session's number alone.

/** One subprotocol over one transport. */
export interface SoakProtocol {
  readonly transport: 'spdy' | 'websocket';
  /** As it is offered; empty for a WebSocket client that offers none. */
  readonly name: string;
  /** The error stream carries a Status as JSON, else plain text and only on failure. */
  readonly json: boolean;
  /** The client can end its input. */
  readonly endsInput: boolean;
  readonly resizes: boolean;
}

const spdy = { transport: 'spdy', endsInput: true } as const;
const webSocket = { transport: 'websocket', endsInput: false, resizes: true } as const;

export const PROTOCOLS: readonly SoakProtocol[] = [
  { ...spdy, name: 'channel.k8s.io', json: false, resizes: false },
  { ...spdy, name: 'v2.channel.k8s.io', json: false, resizes: false },
  { ...spdy, name: 'v3.channel.k8s.io', json: false, resizes: true },
  { ...spdy, name: 'v4.channel.k8s.io', json: true, resizes: true },
  { ...webSocket, name: '', json: false },
  { ...webSocket, name: 'channel.k8s.io', json: false },
  { ...webSocket, name: 'base64.channel.k8s.io', json: false },
  { ...webSocket, name: 'v4.channel.k8s.io', json: true },
  { ...webSocket, name: 'v4.base64.channel.k8s.io', json: true },
  { ...webSocket, name: 'v5.channel.k8s.io', json: true, endsInput: true },
];

/** As it is counted and printed. */
export function protocolTitle({ transport, name }: SoakProtocol): string {
  return `${transport} ${name === '' ? '(none)' : name}`;
}

export const KINDS = [
  'output',
  'echo',
  'discard',
  'exit code',
  'signal',
  'start failure',
  'early exit',
  'background child',
  'terminal',
  'slow reader',
  'slow reader of a finished command',
  'client reset',
  'container restart',
  'refusal',
] as const;
export type Kind = (typeof KINDS)[number];

/** The containers that sessions run in; the one that is restarted now and then is another. */
export const STEADY_PODS = ['steady-0', 'steady-1', 'steady-2'] as const;
export const RESTARTED_POD = 'restarted';

export interface Input {
  readonly bytes: Buffer;
  readonly chunkBytes: number;
  readonly bytesPerSecond: number | undefined;
  /** Not before the first output: the terminal must be ready, and the command says so. */
  readonly afterOutput: boolean;
}

/** Where the client goes away, and how. */
export interface Reset {
  readonly point: 'handshake' | 'request' | 'after the 101' | 'between streams' | 'mid-output' | 'mid-input';
  /** That many characters of the request, bytes of output or input, or streams. */
  readonly after: number;
  /** TCP RST; else an ordinary close without any farewell. */
  readonly hard: boolean;
}

export type Expected =
  | { readonly end: 'exit'; readonly exitCode: number; readonly stdout: Buffer; readonly stderr: Buffer }
  /** The same, unless the container was restarted meanwhile. */
  | {
      readonly end: 'exit or interruption';
      readonly exitCode: number;
      readonly stdout: Buffer;
      readonly stderr: Buffer;
    }
  | { readonly end: 'start failure' }
  | { readonly end: 'refusal'; readonly status: number }
  /** Of a client that has gone nothing is known, but that the daemon lives on. */
  | { readonly end: 'nothing' };

export interface SessionPlan {
  readonly number: number;
  readonly kind: Kind;
  readonly protocol: SoakProtocol;
  readonly offered: readonly string[];
  readonly pod: string;
  readonly command: readonly string[];
  readonly stdin: Input | undefined;
  readonly stderr: boolean;
  readonly tty: boolean;
  readonly size: { readonly width: number; readonly height: number } | undefined;
  readonly reader: { readonly pauseMs: number; readonly bytesPerSecond: number | undefined };
  readonly reset: Reset | undefined;
  readonly expected: Expected;
}

const PLAIN = {
  stdin: undefined,
  stderr: true,
  tty: false,
  size: undefined,
  reader: { pauseMs: 0, bytesPerSecond: undefined },
  reset: undefined,
};

/** The plan of one session. Every kind meets every protocol once before any does so again. */
export function planSession(seed: number, number: number, source: Buffer): SessionPlan {
  const pairs = KINDS.flatMap(kind => PROTOCOLS.map(protocol => ({ kind, protocol })));
  const round = Math.floor(number / pairs.length);
  const pair = Random.forNumber(seed ^ 0x50a1, round).shuffled(pairs)[number % pairs.length];
  if (pair === undefined) throw new Error('there is a pair for every number');
  const draw = new Draw(Random.forNumber(seed, number), source, pair.protocol);
  const planned = draw.session(pair.kind);
  const { protocol } = pair;
  return {
    number,
    kind: pair.kind,
    protocol,
    offered: protocol.name === '' ? [] : [protocol.name],
    pod: draw.random.pick(STEADY_PODS),
    ...PLAIN,
    ...planned,
  };
}

/** A session that shows that a protocol works, and no more. */
export function planHello(protocol: SoakProtocol): SessionPlan {
  return {
    number: 0,
    kind: 'output',
    protocol,
    offered: protocol.name === '' ? [] : [protocol.name],
    pod: STEADY_PODS[0],
    command: ['echo', 'hello'],
    ...PLAIN,
    expected: success('hello\n'),
  };
}

type Drawn = Pick<SessionPlan, 'command' | 'expected'> & Partial<SessionPlan>;

const DETACH_KEYS: readonly (number | undefined)[] = [0x1e, 0x1f]; // ctrl-^, ctrl-_
const NOTHING = Buffer.alloc(0);
const KIB = 1024;
const MIB = 1024 * KIB;
/** What a client leaves unread for a while fits into the buffers on the way, or its command is still running. */
const MOST_UNREAD_BYTES = 200_000;

/** The draws of one session; the order in which they are made is part of what a seed means. */
class Draw {
  readonly random: Random;
  readonly #source: Buffer;
  readonly #protocol: SoakProtocol;

  constructor(random: Random, source: Buffer, protocol: SoakProtocol) {
    this.random = random;
    this.#source = source;
    this.#protocol = protocol;
  }

  session(kind: Kind): Drawn {
    switch (kind) {
      case 'output':
        return this.#output();
      case 'echo':
        return this.#echo();
      case 'discard':
        return this.#discard();
      case 'exit code':
        return this.#exitCode();
      case 'signal':
        return this.#signal();
      case 'start failure':
        return {
          command: [this.random.pick(['/no/such/command', 'no-such-command', '/tmp'])],
          expected: { end: 'start failure' },
        };
      case 'early exit':
        return this.#earlyExit();
      case 'background child':
        return this.#backgroundChild();
      case 'terminal':
        return this.#terminal();
      case 'slow reader':
        return this.#slowReader({ finished: false });
      case 'slow reader of a finished command':
        return this.#slowReader({ finished: true });
      case 'client reset':
        return this.#clientReset();
      case 'container restart':
        return this.#restarted();
      case 'refusal':
        return this.#refusal();
    }
  }

  #output(): Drawn {
    const stdout = this.#slice(this.#size(16 * MIB));
    const stderr = this.#slice(this.random.chance(0.5) ? 0 : this.#size(MIB));
    const exitCode = this.random.chance(0.5) ? 0 : this.#anyExitCode();
    // Side by side, so that frames of both streams alternate.
    const script = `${this.#print(stdout)} & ${this.#print(stderr)} >&2; wait; exit ${exitCode}`;
    return { command: sh(script), expected: { end: 'exit', exitCode, stdout: stdout.bytes, stderr: stderr.bytes } };
  }

  #echo(): Drawn {
    const { bytes } = this.#slice(this.#size(4 * MIB));
    const command = this.#protocol.endsInput ? ['cat'] : ['head', '-c', String(bytes.length)];
    return { command, stdin: this.#input(bytes), expected: success(bytes) };
  }

  #discard(): Drawn {
    const { bytes } = this.#slice(this.#size(4 * MIB));
    const counts = this.random.chance(0.5);
    const judge = counts ? 'wc -c' : 'sha256sum';
    const command = this.#protocol.endsInput ? judge.split(' ') : sh(`head -c ${bytes.length} | ${judge}`);
    const text = counts ? `${bytes.length}\n` : `${createHash('sha256').update(bytes).digest('hex')}  -\n`;
    return { command, stdin: this.#input(bytes), expected: success(Buffer.from(text)) };
  }

  #exitCode(): Drawn {
    const exitCode = this.#anyExitCode();
    return this.#endsWith(`exit ${exitCode}`, exitCode);
  }

  #endsWith(last: string, exitCode: number): Drawn {
    const stdout = this.#slice(this.random.chance(0.5) ? 0 : this.#size(64 * KIB));
    const command = sh(`${this.#print(stdout)}; ${last}`);
    return { command, expected: { end: 'exit', exitCode, stdout: stdout.bytes, stderr: NOTHING } };
  }

  #signal(): Drawn {
    const number = constants.signals[this.random.pick(KILLING_SIGNALS)];
    return this.#endsWith(`kill -${number} $$`, 128 + number);
  }

  #earlyExit(): Drawn {
    const { bytes } = this.#slice(this.random.integer(256 * KIB, 4 * MIB));
    const read = this.random.chance(0.3) ? 0 : this.random.magnitude(1, 64 * KIB);
    const exitCode = this.#anyExitCode();
    const command = sh(`${read === 0 ? '' : `head -c ${read}; `}exit ${exitCode}`);
    const stdout = bytes.subarray(0, read);
    return { command, stdin: this.#input(bytes), expected: { end: 'exit', exitCode, stdout, stderr: NOTHING } };
  }

  /** The child inherits the outputs and holds them open after the command's end; it ends by itself. */
  #backgroundChild(): Drawn {
    const stdout = this.#slice(this.#size(MIB));
    const exitCode = this.#anyExitCode();
    const seconds = this.random.integer(5, 30) / 10;
    const command = sh(`sleep ${seconds} & ${this.#print(stdout)}; exit ${exitCode}`);
    return { command, expected: { end: 'exit', exitCode, stdout: stdout.bytes, stderr: NOTHING } };
  }

  #terminal(): Drawn {
    const terminal = { tty: true, stderr: this.random.chance(0.5) };
    const act = this.random.pick(this.#protocol.resizes ? ['output', 'echo', 'size'] : ['output', 'echo']);
    if (act === 'size') {
      const size = { width: this.random.integer(2, 500), height: this.random.integer(2, 200) };
      const text = `${size.height} ${size.width}`;
      const script = `until [ "$(stty size 2>/dev/null)" = "${text}" ]; do sleep 0.05; done; stty size`;
      return { ...terminal, command: sh(script), size, stdin: this.#input(NOTHING), expected: success(`${text}\r\n`) };
    }
    const exitCode = this.#anyExitCode();
    const slice = this.#slice(this.#size(64 * KIB));
    // The Engine keeps the beginning of its detach keys back until another key follows (docker/engine.ts), so none may come last.
    while (slice.bytes.length > 0 && DETACH_KEYS.includes(slice.bytes.at(-1)))
      slice.bytes = slice.bytes.subarray(0, -1);
    const exit = { end: 'exit', exitCode, stderr: NOTHING } as const;
    if (act === 'output') {
      const command = sh(`stty -opost; ${this.#print(slice)}; exit ${exitCode}`);
      return { ...terminal, command, stdin: this.#input(NOTHING), expected: { ...exit, stdout: slice.bytes } };
    }
    // Raw, or the terminal would take some of the bytes for ^C and its like. `timeout` for a client that goes away: on a
    // terminal that is no end of input.
    const command = sh(`stty raw -echo; echo ready; timeout 60 head -c ${slice.bytes.length}; exit ${exitCode}`);
    const stdout = Buffer.concat([Buffer.from('ready\n'), slice.bytes]);
    const stdin = { ...this.#input(slice.bytes), afterOutput: true };
    return { ...terminal, command, stdin, expected: { ...exit, stdout } };
  }

  /** One that pauses at the start, or reads at a limited speed. While its command runs, that loses nothing. */
  #slowReader({ finished }: { finished: boolean }): Drawn {
    const exitCode = this.#anyExitCode();
    const bytesPerSecond = this.random.chance(0.5) ? this.random.integer(MIB, 10 * MIB) : undefined;
    const pauseMs = bytesPerSecond === undefined ? this.random.integer(300, 3_000) : 0;
    const small = !finished && pauseMs > 0 && this.random.chance(0.5);
    const most = bytesPerSecond === undefined ? 4 * MIB : 2 * bytesPerSecond;
    const stdout = this.#slice(this.random.magnitude(1, small ? MOST_UNREAD_BYTES : most));
    const readSeconds = pauseMs / 1000 + stdout.bytes.length / (bytesPerSecond ?? 20 * MIB);
    const stays = finished || small ? '' : `sleep ${Math.ceil(readSeconds) + 1}; `;
    const command = sh(`${this.#print(stdout)}; ${stays}exit ${exitCode}`);
    const expected = { end: 'exit', exitCode, stdout: stdout.bytes, stderr: NOTHING } as const;
    return { command, reader: { pauseMs, bytesPerSecond }, expected };
  }

  #clientReset(): Drawn {
    const hard = this.random.chance(0.5);
    const expected = { end: 'nothing' } as const;
    const points = ['handshake', 'request', 'after the 101', 'mid-output', 'mid-input'] as const;
    const point = this.random.pick(
      this.#protocol.transport === 'spdy' ? ([...points, 'between streams'] as const) : points,
    );
    // Nothing that the client leaves running in the container runs for long. On a terminal cat would: it sees no end of input.
    const tty = this.random.chance(0.3);
    const command = this.random.pick([sh(tty ? 'sleep 2' : 'cat'), sh('sleep 1'), sh('echo hi; sleep 1')]);
    const quiet = { command, tty, stdin: this.#input(NOTHING), expected };
    switch (point) {
      case 'handshake':
        return { ...quiet, reset: { point, hard, after: this.random.integer(0, 200) } };
      case 'request':
      case 'after the 101':
        return { ...quiet, reset: { point, hard, after: 0 } };
      case 'between streams':
        return {
          ...quiet,
          reset: { point, hard, after: this.random.integer(1, tty ? 3 : 4) },
        };
      case 'mid-output': {
        const { bytes, offset } = this.#slice(this.random.magnitude(64 * KIB, 8 * MIB));
        const prints = sh(`${this.#print({ bytes, offset })}; sleep 1`);
        return { command: prints, expected, reset: { point, hard, after: this.random.integer(1, bytes.length) } };
      }
      case 'mid-input': {
        const { bytes } = this.#slice(this.random.magnitude(64 * KIB, 4 * MIB));
        const reads = this.random.pick([sh('cat'), sh('wc -c'), sh('sleep 1; cat')]);
        return {
          command: reads,
          expected,
          stdin: this.#input(bytes),
          reset: { point, hard, after: this.random.integer(1, bytes.length) },
        };
      }
    }
  }

  #restarted(): Drawn {
    const exitCode = this.random.integer(0, 125); // none that an interruption would have
    const stdout = this.#slice(this.#size(MIB));
    const script = `sleep ${this.random.integer(0, 10) / 10}; ${this.#print(stdout)}; sleep ${this.random.integer(0, 20) / 10}; exit ${exitCode}`;
    const expected = { end: 'exit or interruption', exitCode, stdout: stdout.bytes, stderr: NOTHING } as const;
    return { command: sh(script), pod: RESTARTED_POD, expected };
  }

  #refusal(): Drawn {
    const command = ['echo', 'hi'];
    if (this.random.chance(0.5)) return { command, pod: 'nobody', expected: { end: 'refusal', status: 404 } };
    return { command, offered: ['v9.channel.k8s.io'], expected: { end: 'refusal', status: 403 } };
  }

  #anyExitCode(): number {
    return this.random.integer(0, 255);
  }

  /** Now and then nothing or very little, seldom the most. */
  #size(most: number): number {
    const kind = this.random.fraction();
    if (kind < 0.05) return 0;
    if (kind < 0.97) return this.random.magnitude(1, Math.min(most, 4 * MIB));
    return most;
  }

  #slice(length: number): { offset: number; bytes: Buffer } {
    const offset = this.random.integer(0, this.#source.length - 16 * MIB);
    return { offset, bytes: this.#source.subarray(offset, offset + length) };
  }

  #print({ offset, bytes }: { offset: number; bytes: Buffer }): string {
    return bytes.length === 0 ? 'true' : `tail -c +${offset + 1} ${SOURCE_PATH} | head -c ${bytes.length}`;
  }

  #input(bytes: Buffer): Input {
    const fewestBytes = Math.ceil(bytes.length / 2_000);
    return {
      bytes,
      chunkBytes: Math.max(1, fewestBytes, this.random.magnitude(1, 128 * KIB)),
      bytesPerSecond: this.random.chance(0.3) ? this.random.integer(MIB, 10 * MIB) : undefined,
      afterOutput: false,
    };
  }
}

function success(stdout: Buffer | string): Expected {
  return {
    end: 'exit',
    exitCode: 0,
    stdout: typeof stdout === 'string' ? Buffer.from(stdout) : stdout,
    stderr: NOTHING,
  };
}

function sh(script: string): readonly [string, string, string] {
  return ['sh', '-c', script];
}
