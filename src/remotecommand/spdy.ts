import type { Duplex } from 'node:stream';
import type { ExecOutcome, ExecStreams, OutputSink, RemoteCommandConnection } from '../exec/connection.ts';
import { CLIENT_CLOSED, SessionEnded } from '../exec/end-reason.ts';
import { ExecletError } from '../errors.ts';
import { SpdyConnection } from '../spdy/connection.ts';
import type { SpdyStream } from '../spdy/stream.ts';
import { aborted, within } from '../within.ts';
import type { Acceptance, ConnectionLimits, WantedStreams } from './accept.ts';
import { HeldInput } from './held-input.ts';
import { Keepalive } from './keepalive.ts';
import type { StreamProtocol } from './protocol.ts';
import { resetConnection } from './reset-connection.ts';
import { encodeStatus } from './status.ts';
import { TerminalSizes } from './terminal-size.ts';

const STREAM_TYPE_HEADER = 'streamtype';
const STREAM_TYPES = ['error', 'stdin', 'stdout', 'stderr', 'resize'] as const;
type StreamType = (typeof STREAM_TYPES)[number];

type EndLimits = Pick<ConnectionLimits, 'deliveryTimeoutMs' | 'closeTimeoutMs'>;

/** After our FIN, for a peer that does not close. */
const DESTROY_AFTER_MS = 5_000;
/** A client that answers no ping may be there all the same, and is told so. */
const LOST_LIMITS: EndLimits = { deliveryTimeoutMs: 1_000, closeTimeoutMs: 0 };

/**
 * Writes the 101 and waits for the streams the client promised in its query.
 *
 * The error stream is always expected. Each stream is answered at once, since clients open the next only after the reply.
 * Unknown stream types are answered too, as the kubelet does, and do not count.
 *
 * @throws {ExecletError} StreamsNotCreated after `streamCreationTimeoutMs`, measured from the 101; the connection is closed
 * @throws {SessionEnded} client_gone or protocol_error when the client goes before; the reason of `ending` when that aborts before
 */
export async function acceptSpdy(acceptance: Acceptance): Promise<RemoteCommandConnection> {
  const connection = new SpdyRemoteCommand(acceptance);
  await connection.open(acceptance);
  return connection;
}

class SpdyRemoteCommand implements RemoteCommandConnection {
  readonly transport = 'spdy';
  readonly protocol: string;
  readonly closed: AbortSignal;
  readonly #socket: Duplex;
  readonly #protocol: StreamProtocol;
  readonly #limits: ConnectionLimits;
  readonly #spdy: SpdyConnection;
  readonly #closing = new AbortController();
  readonly #expected: ReadonlySet<StreamType>;
  readonly #opened = new Map<StreamType, SpdyStream>();
  readonly #stdin: HeldInput;
  readonly #sizes = new TerminalSizes();
  readonly #complete = Promise.withResolvers<undefined>();
  readonly #keepalive: Keepalive;
  #drained: () => void = () => undefined;
  #finishing = false;
  /** The client seems to be gone, and the connection does not say so. */
  #lost = false;

  constructor({ socket, protocol, wanted, limits }: Acceptance) {
    this.protocol = protocol.name;
    this.closed = this.#closing.signal;
    this.#socket = socket;
    this.#protocol = protocol;
    this.#limits = limits;
    this.#expected = expectedStreams(wanted, protocol);
    this.#spdy = new SpdyConnection({
      socket,
      maxStreams: STREAM_TYPES.length,
      highWaterMarkBytes: limits.highWaterMarkBytes,
      onStream: (stream, headers) => this.#take(stream, headers),
      onDrain: () => this.#drained(),
      onPong: ping => this.#keepalive.answered(ping),
      onPeerGoAway: () => this.#abort(CLIENT_CLOSED),
      onClose: cause => {
        this.#keepalive.stop();
        this.#abort(ended(cause));
        this.#drained();
      },
    });
    this.#keepalive = new Keepalive({
      socket,
      limits,
      sendPing: ping => this.#spdy.ping(ping),
      onGone: reason => this.#lose(reason),
    });
    this.#stdin = new HeldInput({
      highWaterMarkBytes: limits.highWaterMarkBytes,
      onResume: () => this.#spdy.resume(),
    });
  }

  get streams(): ExecStreams {
    const stdout = this.#opened.get('stdout');
    const stderr = this.#opened.get('stderr');
    return {
      ...(this.#expected.has('stdin') && { stdin: this.#stdin }),
      ...(stdout && { stdout: this.#sink(stdout) }),
      ...(stderr && { stderr: this.#sink(stderr) }),
      ...(this.#expected.has('resize') && { resize: this.#sizes }),
      started: () => undefined, // SPDY has no word for it
      onDrain: listener => {
        this.#drained = listener;
      },
    };
  }

  /** Writes the 101 and resolves when every promised stream is open. */
  async open({ head, ending, session }: Acceptance): Promise<void> {
    this.#socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n' +
        `X-Stream-Protocol-Version: ${this.protocol}\r\n\r\n`,
    );
    this.#spdy.start(head);
    const waitNoLonger = (): void => this.#complete.resolve(undefined);
    ending.addEventListener('abort', waitNoLonger, { once: true });
    if (ending.aborted) waitNoLonger();
    await within(this.#limits.streamCreationTimeoutMs, this.#complete.promise);
    ending.removeEventListener('abort', waitNoLonger);
    if (this.#closing.signal.aborted) throw this.#closing.signal.reason;
    const missing = this.#missing;
    if (missing.length > 0) throw this.#failToOpen(missing, { ending, session });
    this.#spdy.releaseInflater();
    this.#keepalive.start();
  }

  /** Tells a client that has opened the error stream why it is not waited for, and returns that. */
  #failToOpen(
    missing: readonly StreamType[],
    { ending, session }: Pick<Acceptance, 'ending' | 'session'>,
  ): ExecletError | SessionEnded {
    const cause: unknown = ending.reason;
    const why =
      cause instanceof SessionEnded
        ? cause
        : new ExecletError(
            'StreamsNotCreated',
            `timed out waiting for the client to create streams, missing: ${missing.join(', ')}`,
          );
    const code = why instanceof ExecletError ? why.code : 'Internal';
    const reason = why instanceof SessionEnded ? why.endReason : 'protocol_error';
    const error = new ExecletError(code, `${why.message} (session ${session})`, { cause: why });
    void this.#end({ kind: 'failed', reason, error }, { deliveryTimeoutMs: DESTROY_AFTER_MS, closeTimeoutMs: 0 });
    return why;
  }

  get #missing(): StreamType[] {
    return [...this.#expected].filter(type => !this.#opened.has(type));
  }

  finish(outcome: ExecOutcome): Promise<void> {
    return this.#end(outcome, this.#lost ? LOST_LIMITS : this.#limits);
  }

  destroy(): void {
    resetConnection(this.#socket);
  }

  async #end(outcome: ExecOutcome, { deliveryTimeoutMs, closeTimeoutMs }: EndLimits): Promise<void> {
    this.#finishing = true;
    this.#stdin.discard(); // the socket is read to the end, or the kernel would reset it and drop output
    // The status goes first among the ends of streams: a client of version 1 stops listening once its outputs have ended.
    const errorStream = this.#opened.get('error');
    const status = encodeStatus(outcome, this.#protocol);
    if (status.length > 0) errorStream?.write(status);
    errorStream?.end();
    this.#keepalive.outputWritten();
    for (const type of ['stdout', 'stderr', 'stdin', 'resize'] as const) this.#opened.get(type)?.end();

    // Megabytes can lie in the kernel's buffers for a client that reads slowly: its answer to this PING says that it has read them.
    await within(deliveryTimeoutMs, Promise.race([this.#keepalive.allRead(), aborted(this.closed)]));
    await within(closeTimeoutMs, aborted(this.closed));
    this.#spdy.goAway();
    this.#spdy.end();
    await within(DESTROY_AFTER_MS, this.#spdy.whenClosed());
    this.#spdy.destroy();
  }

  #take(stream: SpdyStream, headers: ReadonlyMap<string, string>): boolean {
    const type = STREAM_TYPES.find(known => known === headers.get(STREAM_TYPE_HEADER));
    if (type === undefined || this.#opened.has(type)) return type === undefined;
    this.#opened.set(type, stream);
    if (type === 'stdin' && this.#expected.has('stdin')) {
      stream.consume({ data: chunk => this.#stdin.push(chunk), end: () => this.#stdin.end() });
    } else if (type === 'resize') {
      stream.consume({ data: chunk => this.#resize(chunk), end: () => undefined });
    } // else nothing is expected on it: what comes all the same is read and dropped
    if (this.#missing.length === 0) this.#complete.resolve(undefined);
    return true;
  }

  #resize(chunk: Buffer): true {
    this.#sizes.push(chunk);
    return true;
  }

  #sink(stream: SpdyStream): OutputSink {
    return {
      write: chunk => {
        this.#keepalive.outputWritten();
        return stream.write(chunk);
      },
    };
  }

  #lose(reason: SessionEnded): void {
    this.#lost = true;
    this.#abort(reason);
    if (this.#finishing) this.#spdy.destroy(); // it has been told everything
  }

  #abort(reason: SessionEnded): void {
    this.#closing.abort(reason); // only the first counts
    this.#complete.resolve(undefined);
  }
}

/** `error` always; `resize` for a TTY from v3 on; `stderr` never with a TTY. */
function expectedStreams(wanted: WantedStreams, protocol: StreamProtocol): ReadonlySet<StreamType> {
  return new Set(
    STREAM_TYPES.filter(type => {
      if (type === 'error') return true;
      if (type === 'resize') return wanted.tty && protocol.resize;
      return wanted[type];
    }),
  );
}

function ended(cause: Error | undefined): SessionEnded {
  if (cause === undefined) return CLIENT_CLOSED;
  const reason = cause.name === 'SpdyError' ? 'protocol_error' : 'client_gone';
  return new SessionEnded(reason, cause.message, { cause });
}
