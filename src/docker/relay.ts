import type { Socket } from 'node:net';
import type { ExecStreams, OutputSink } from '../exec/connection.ts';
import { SessionEnded } from '../exec/end-reason.ts';
import { isBrokenPipe } from './broken-pipe.ts';
import { StdcopyDemultiplexer } from './stdcopy.ts';

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
  readonly signal: AbortSignal;
}

/**
 * Moves bytes between the Engine and the client until the Engine has ended the output.
 *
 * Slices of the Engine's chunks go to the client as they are. Each side is paused while the other is full: nothing is
 * queued beyond the high-water marks. Rejects with SessionEnded `engine_gone` when the Engine breaks its stream off, with the
 * signal's reason when that aborts. The Engine's socket is destroyed when this settles, and the client's input discarded.
 */
export async function relay(options: RelayOptions): Promise<void> {
  const { engine, signal, streams } = options;
  const { promise: ended, resolve, reject } = Promise.withResolvers<undefined>();
  const abort = (): void => reject(signal.reason as Error);
  const broken = (cause: Error): void => reject(new SessionEnded('engine_gone', cause.message, { cause }));

  const output = openOutput(options);
  engine.on('data', (chunk: Buffer) => {
    try {
      if (!output.push(chunk)) engine.pause();
    } catch (cause) {
      broken(cause as Error);
      engine.destroy();
    }
  });
  engine.on('end', () => resolve(undefined));
  engine.on('error', cause => (options.resetKeepsOutput && isBrokenPipe(cause) ? resolve(undefined) : broken(cause)));
  engine.on('close', () => broken(new Error('the Engine closed the connection of the exec')));
  streams.onDrain(() => engine.resume());
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  openInput(options);

  try {
    await ended;
    output.end();
  } catch (cause) {
    throw cause instanceof SessionEnded ? cause : new SessionEnded('engine_gone', String(cause), { cause });
  } finally {
    signal.removeEventListener('abort', abort);
    streams.stdin?.discard();
    engine.destroy();
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

function openInput({ engine, tty, streams: { stdin }, highWaterMarkBytes }: RelayOptions): void {
  if (stdin === undefined) return;
  engine.on('drain', () => stdin.resume());
  stdin.consume({
    data: chunk => {
      engine.write(chunk);
      return engine.writableLength < highWaterMarkBytes;
    },
    // On a terminal a half-close would make the Engine end the output while the command lives on; nobody at a terminal ends
    // their input this way, they type ^D.
    end: () => {
      if (!tty) engine.end();
    },
  });
}
