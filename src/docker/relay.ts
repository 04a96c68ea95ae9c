import type { Socket } from 'node:net';
import type { ExecStreams, OutputSink } from '../exec/connection.ts';
import { SessionEnded } from '../exec/end-reason.ts';
import { chunkPassed } from '../garbage.ts';
import type { Hold } from '../metrics.ts';
import { TickCork } from '../tick-cork.ts';
import { isBrokenPipe } from './broken-pipe.ts';
import type { ExitWatch } from './exit-watch.ts';
import { StdcopyDemultiplexer } from './stdcopy.ts';
import type { Tail } from './tail-budget.ts';

/** The Engine drops what nobody has read so long after the command's exit (moby, `ProcessEvent`); less what our timers may be late. */
const ENGINE_KEEPS_TAIL_MS = 1_900;

/** A timer that fires so late says that the process, or its machine, was not running. */
const STOOD_STILL_MS = 100;
/** What a write that waits costs beside its bytes: a client may send its input byte by byte. */
const WRITE_COST_BYTES = 256;

/** How long output is waited for after the command's exit, while a child in the background holds it open. */
export interface DrainLimits {
  /** Without a byte. */
  readonly quietMs: number;
  /** In all. */
  readonly limitMs: number;
}

export interface RelayOptions {
  /** The hijacked connection of a started exec. */
  readonly engine: Socket;
  /** A TTY's stream is raw: stdout and stderr are one. */
  readonly tty: boolean;
  /** Whether a reset of the connection can only come after all output was read; true for a Unix socket. */
  readonly resetKeepsOutput: boolean;
  readonly streams: ExecStreams;
  /** Sees stdout before the client does, and may hold it back (see StartFailureGuard). */
  readonly stdout: OutputSink;
  readonly highWaterMarkBytes: number;
  /** Told when output is held back; who made it calls `commandExited` of the relay. */
  readonly watch: Pick<ExitWatch, 'prepare' | 'hold' | 'caughtUp' | 'unseenMs'>;
  readonly tail: Tail;
  readonly drain: DrainLimits;
  /** Told while input waits for the command, and output for the client. */
  readonly held: Readonly<Record<'input' | 'output', Hold>>;
  readonly signal: AbortSignal;
}

/**
 * Moves bytes between the Engine and the client until the output has ended.
 *
 * Slices of the Engine's chunks go to the client as they are. Each side is paused while the other is full: nothing is
 * queued beyond the high-water marks, until the command has exited. Then the Engine would soon drop what it still holds, so the
 * rest is taken at once, into memory where the client is slow, and waits there for the client.
 */
export class Relay {
  readonly #options: RelayOptions;
  readonly #output: Output;
  readonly #ended = Promise.withResolvers<undefined>();
  #unpreparedBytes: number;
  #exitedAt: number | undefined;
  #lastOutputAt = 0;
  #drainTimer: NodeJS.Timeout | undefined;
  #cutByUs = false;
  #over = false;
  #unseenAtEndMs = 0;

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#output = openOutput(options);
    this.#unpreparedBytes = options.highWaterMarkBytes / 2;
  }

  /**
   * Rejects with SessionEnded `engine_gone` when the Engine breaks its stream off, `output_lost` when the rest of the output is
   * too large to hold or may be incomplete, and with the signal's reason when that aborts. When this settles the client's input is
   * discarded, and the Engine's socket is the caller's to destroy; what it still sends is dropped.
   */
  async run(): Promise<void> {
    const { engine, signal, streams, tail, watch, held, resetKeepsOutput } = this.#options;
    const { resolve, reject } = this.#ended;
    const abort = (): void => reject(signal.reason);
    const broken = (cause: Error): void => reject(new SessionEnded('engine_gone', cause.message, { cause }));

    engine.on('data', (chunk: Buffer) => this.#take(chunk));
    engine.on('end', () => {
      this.#unseenAtEndMs = watch.unseenMs;
      resolve(undefined);
    });
    engine.on('error', cause => (resetKeepsOutput && isBrokenPipe(cause) ? resolve(undefined) : broken(cause)));
    engine.on('close', () => {
      if (!this.#over) broken(new Error('the Engine closed the connection of the exec'));
    });
    // Stays after the end: the tail is the client's until it has taken it, or is gone.
    streams.onDrain(() => {
      tail.release();
      watch.caughtUp();
      held.output.end();
      engine.resume();
    });
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    openInput(this.#options);

    try {
      await this.#ended.promise;
      if (!this.#cutByUs) this.#output.end();
    } catch (cause) {
      throw cause instanceof SessionEnded ? cause : new SessionEnded('engine_gone', String(cause), { cause });
    } finally {
      this.#over = true;
      clearTimeout(this.#drainTimer);
      signal.removeEventListener('abort', abort);
      held.input.end();
      held.output.end();
      streams.stdin?.discard();
    }
  }

  /** Whether the exit was known before the output had ended. */
  get sawExit(): boolean {
    return this.#exitedAt !== undefined;
  }

  /** Whether the output has ended so long after the command was last seen alive that the Engine may have dropped a part. */
  get mayLackTail(): boolean {
    return !this.sawExit && this.#unseenAtEndMs >= ENGINE_KEEPS_TAIL_MS;
  }

  /** Whoever learns that the command has exited says so, in any order and more than once; after the output's end it means nothing. */
  commandExited(): void {
    if (this.#over || this.#exitedAt !== undefined) return;
    const { engine, watch, held } = this.#options;
    const { unseenMs } = watch;
    if (unseenMs >= ENGINE_KEEPS_TAIL_MS) {
      this.#lose(`the client was slow, and the command's exit was seen up to ${Math.round(unseenMs)} ms late`);
      return;
    }
    this.#exitedAt = this.#lastOutputAt = performance.now();
    held.output.end(); // from here on it is taken into memory
    engine.resume();
    this.#awaitEnd(this.#options.drain.quietMs);
  }

  #take(chunk: Buffer): void {
    if (this.#over) return;
    const { engine, watch, tail, held } = this.#options;
    let wantsMore: boolean;
    try {
      wantsMore = this.#output.push(chunk);
    } catch (cause) {
      this.#ended.reject(cause);
      engine.destroy();
      return;
    }
    if (this.#unpreparedBytes > 0) {
      this.#unpreparedBytes -= chunk.length;
      if (this.#unpreparedBytes <= 0) watch.prepare();
    }
    if (this.#exitedAt !== undefined) {
      this.#lastOutputAt = performance.now();
      const tooMuch = wantsMore ? undefined : tail.hold(chunk.length);
      if (tooMuch !== undefined) this.#lose(tooMuch);
    } else if (!wantsMore) {
      engine.pause();
      watch.hold();
      held.output.begin();
    }
    chunkPassed(chunk.length);
  }

  /** After the exit the Engine ends the output when every process that holds it has gone, some versions 2 s after the exit. */
  #awaitEnd(ms: number): void {
    const due = performance.now() + ms;
    this.#drainTimer = setTimeout(() => {
      const { quietMs, limitMs } = this.#options.drain;
      const now = performance.now();
      const limit = (this.#exitedAt ?? now) + limitMs - now;
      const quiet = this.#lastOutputAt + quietMs - now;
      // Where this process stood still, output may have come that it has not read yet.
      const left = Math.min(limit, now - due > STOOD_STILL_MS ? quietMs : quiet);
      if (left > 0) {
        this.#awaitEnd(left);
        return;
      }
      this.#cutByUs = true;
      this.#ended.resolve(undefined);
    }, ms);
  }

  #lose(why: string): void {
    this.#ended.reject(new SessionEnded('output_lost', `the end of the output is lost: ${why}`));
    this.#options.engine.destroy();
  }
}

interface Output {
  /** False: the client is full. */
  push(chunk: Buffer): boolean;
  /** Throws when the stream was cut off. */
  end(): void;
}

function openOutput({ tty, stdout, streams: { stderr } }: RelayOptions): Output {
  if (tty) return { push: chunk => stdout.write(chunk), end: () => undefined };
  let wantsMore = true;
  const demultiplexer = new StdcopyDemultiplexer((stream, slice) => {
    // Not asked for: read all the same, and dropped.
    const taken = stream === 'stdout' ? stdout.write(slice) : (stderr?.write(slice) ?? true);
    wantsMore &&= taken;
  });
  return {
    push: chunk => {
      wantsMore = true;
      demultiplexer.push(chunk);
      return wantsMore;
    },
    end: () => demultiplexer.end(),
  };
}

function openInput({ engine, tty, streams: { stdin }, highWaterMarkBytes, held }: RelayOptions): void {
  if (stdin === undefined) return;
  const cork = new TickCork(engine);
  let waiting = 0;
  const written = (): void => {
    waiting -= 1;
  };
  engine.on('drain', () => {
    held.input.end();
    stdin.resume();
  });
  stdin.consume({
    data: chunk => {
      waiting += 1;
      cork.cork();
      engine.write(chunk, written);
      chunkPassed(chunk.length);
      // The socket promises 'drain' only past its own mark.
      const takesMore =
        engine.writableLength + waiting * WRITE_COST_BYTES < highWaterMarkBytes || !engine.writableNeedDrain;
      if (!takesMore) held.input.begin();
      return takesMore;
    },
    // On a terminal a half-close would make the Engine end the output while the command lives on; nobody at a terminal ends
    // their input this way, they type ^D.
    end: () => {
      if (!tty) engine.end();
    },
  });
}
