import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocket, WebSocketServer, type RawData } from 'ws';
import type { ExecOutcome, ExecStreams, OutputSink, RemoteCommandConnection } from '../exec/connection.ts';
import { CLIENT_CLOSED, SessionEnded } from '../exec/end-reason.ts';
import { ExecletError } from '../errors.ts';
import { TickCork } from '../tick-cork.ts';
import { within } from '../within.ts';
import type { Acceptance, ConnectionLimits, WantedStreams } from './accept.ts';
import { CHANNEL, decodeBase64, decodeBinary, encodeBase64, messageHeader, type Channel } from './channel.ts';
import { HeldInput } from './held-input.ts';
import { InputStall } from './input-stall.ts';
import { Keepalive } from './keepalive.ts';
import { negotiateWebSocket, type StreamProtocol } from './protocol.ts';
import { resetConnection } from './reset-connection.ts';
import { encodeStatus } from './status.ts';
import { TerminalSizes } from './terminal-size.ts';

/** Some clients send all their stdin as one message; a message is held whole. */
const MAX_INPUT_MESSAGE_BYTES = 16 * 1024 * 1024;
/** Without stdin there is nothing to say but a terminal's size. */
const MAX_MESSAGE_BYTES = 64 * 1024;
/**
 * Fragments of one message. ws keeps each as a part of what was read with it, up to 64 KiB, so that a fragment of one byte
 * among PONGs costs as much: 16 384 of them, its default, are 1 GiB.
 */
const MAX_INPUT_FRAGMENTS = 1_024;
const MAX_FRAGMENTS = 16;
/** Pieces in which a message that is not yet whole may arrive; each costs some 300 bytes beside its own. */
const MAX_BUFFERED_CHUNKS = 32 * 1024;
/** PONGs that the kernel has not taken. One read of 64 KiB holds at most 11 000 PINGs, which may have piled up while we paused. */
const MAX_UNSENT_PONGS = 16 * 1024;
/** For a peer that broke the protocol, or answers no ping and may be there all the same, to take the reason. */
const TERMINATE_AFTER_REASON_MS = 1_000;
const PROTOCOL_ERROR = 1002;
const POLICY_VIOLATION = 1008;
/** What a message that waits costs beside its bytes. */
const MESSAGE_COST_BYTES = 256;
const NORMAL_CLOSURE = 1000; // any other code is an error at the Go clients
const EMPTY = Buffer.alloc(0);

/**
 * Why a WebSocket handshake cannot be accepted, in the kubelet's words.
 *
 * @throws {ExecletError} MethodNotAllowed, BadExecRequest; the latter wants `Sec-WebSocket-Version: 13` in its answer
 */
export function checkWebSocketHandshake(request: IncomingMessage): void {
  if (request.method !== 'GET') throw new ExecletError('MethodNotAllowed', 'bad method');
  if (request.headers['sec-websocket-version'] !== '13') {
    throw new ExecletError('BadExecRequest', 'missing or bad WebSocket Version');
  }
  if (!/^[A-Za-z0-9+/]{22}==$/.test(request.headers['sec-websocket-key'] ?? '')) {
    throw new ExecletError('BadExecRequest', 'mismatch challenge/response');
  }
}

/** Answers upgrades to WebSocket; one instance serves the whole daemon. */
export class WebSocketAcceptor {
  readonly #withInput: WebSocketServer;
  readonly #withoutInput: WebSocketServer;

  /** `closeTimeoutMs`: the most that a peer may take to close; what is delivered by then is the connection's business. */
  constructor({ closeTimeoutMs }: { closeTimeoutMs: number }) {
    const options = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      autoPong: false, // its own bound would end the connection without a word
      maxBufferedChunks: MAX_BUFFERED_CHUNKS,
      closeTimeout: closeTimeoutMs, // not yet in the published types
      handleProtocols: (offered: Set<string>) => negotiateWebSocket([...offered]).name,
    };
    const input = { maxPayload: MAX_INPUT_MESSAGE_BYTES, maxFragments: MAX_INPUT_FRAGMENTS };
    this.#withInput = new WebSocketServer({ ...options, ...input });
    this.#withoutInput = new WebSocketServer({
      ...options,
      maxPayload: MAX_MESSAGE_BYTES,
      maxFragments: MAX_FRAGMENTS,
    });
  }

  /** Writes the 101. The request must have passed `checkWebSocketHandshake` and `negotiateWebSocket`. */
  accept({ request, socket, head, protocol, wanted, limits }: Acceptance): Promise<RemoteCommandConnection> {
    return new Promise((resolve, reject) => {
      const gone = (): void => reject(new SessionEnded('client_gone', 'the client left during the upgrade'));
      socket.once('close', gone);
      const server = wanted.stdin ? this.#withInput : this.#withoutInput;
      server.handleUpgrade(request, socket, head, webSocket => {
        socket.off('close', gone);
        // Whatever ws emits before its 'message' listener is attached is lost, so this must happen in the same tick.
        resolve(new WebSocketConnection({ webSocket, socket, protocol, wanted, limits }));
      });
    });
  }
}

interface WebSocketConnectionOptions {
  readonly webSocket: WebSocket;
  readonly protocol: StreamProtocol;
  readonly wanted: WantedStreams;
  readonly limits: ConnectionLimits;
  /** The one below; ws does not tell when it has drained. */
  readonly socket: Duplex;
}

class WebSocketConnection implements RemoteCommandConnection {
  readonly transport = 'websocket';
  readonly protocol: string;
  readonly streams: ExecStreams;
  readonly closed: AbortSignal;
  readonly #webSocket: WebSocket;
  readonly #socket: Duplex;
  readonly #cork: TickCork;
  readonly #protocol: StreamProtocol;
  readonly #limits: ConnectionLimits;
  readonly #closing = new AbortController();
  readonly #socketClosed = Promise.withResolvers<undefined>();
  readonly #stdin: HeldInput;
  readonly #stall: InputStall;
  readonly #sizes = new TerminalSizes();
  readonly #wanted: WantedStreams;
  readonly #keepalive: Keepalive;
  #drained: () => void = () => undefined;
  #finishing = false;
  /** The client seems to be gone, and the connection does not say so. */
  #lost = false;
  #unsentPongs = 0;
  #announced = false;
  /** How the peer broke the protocol, where it did. */
  #violation: { readonly closeCode: number; readonly why: string } | undefined;

  constructor({ webSocket, socket, protocol, wanted, limits }: WebSocketConnectionOptions) {
    this.protocol = protocol.name;
    this.closed = this.#closing.signal;
    this.#webSocket = webSocket;
    this.#socket = socket;
    this.#cork = new TickCork(socket);
    this.#protocol = protocol;
    this.#limits = limits;
    this.#wanted = wanted;
    this.#stall = new InputStall({ pause: () => webSocket.pause(), resume: () => webSocket.resume() });
    this.#stdin = new HeldInput({
      highWaterMarkBytes: limits.highWaterMarkBytes,
      onResume: () => this.#stall.over(),
    });
    this.streams = {
      ...(wanted.stdin && { stdin: this.#stdin }),
      ...(wanted.stdout && { stdout: this.#sink(CHANNEL.stdout) }),
      ...(wanted.stderr && { stderr: this.#sink(CHANNEL.stderr) }),
      ...(wanted.tty && { resize: this.#sizes }),
      started: () => this.#announce(),
      onDrain: listener => {
        this.#drained = listener;
      },
    };
    this.#keepalive = new Keepalive({
      socket,
      limits,
      sendPing: ping => this.#ping(ping),
      onGone: reason => this.#lose(reason),
    });
    this.#keepalive.start();
    socket.on('drain', () => this.#drained());
    // Behind the listener of ws, which tells nobody of the peer's Close but only of the connection's end; that may be long in coming, from
    // a peer that reads nothing any more.
    socket.on('data', () => {
      if (!this.#finishing && webSocket.readyState === WebSocket.CLOSING) this.#abort(CLIENT_CLOSED);
    });
    webSocket.on('message', message => this.#receive(message));
    webSocket.on('ping', data => this.#pong(data));
    webSocket.on('pong', data => this.#keepalive.answered(Number(data.toString())));
    webSocket.on('error', cause => this.#abort(new SessionEnded('protocol_error', cause.message, { cause })));
    webSocket.on('close', () => {
      this.#keepalive.stop();
      if (!this.#finishing) this.#abort(CLIENT_CLOSED);
      this.#stall.over();
      this.#drained();
      this.#socketClosed.resolve(undefined);
    });
  }

  async finish(outcome: ExecOutcome): Promise<void> {
    this.#finishing = true;
    this.#stdin.discard(); // unread input at close time would make the kernel reset the connection and drop output
    const told = this.#violation !== undefined || this.#lost;
    if (this.#webSocket.readyState === WebSocket.OPEN) {
      this.#socket.cork(); // all that is said at the end leaves in one system call
      this.#announce(); // of a command that did not start
      // An empty payload where the subprotocol has nothing to say on success: Kubernetes sends such messages too.
      this.#send(CHANNEL.error, encodeStatus(outcome, this.#protocol));
      const delivered = told ? undefined : this.#keepalive.allRead();
      const { closeCode = NORMAL_CLOSURE, why } = this.#violation ?? {};
      this.#webSocket.close(closeCode, why);
      this.#socket.uncork();
      if (delivered !== undefined) await this.#deliver(delivered);
    }
    const closeTimeoutMs = told ? TERMINATE_AFTER_REASON_MS : this.#limits.closeTimeoutMs;
    const closed = await within(closeTimeoutMs, this.#socketClosed.promise);
    if (!closed) this.#webSocket.terminate();
    await this.#socketClosed.promise;
  }

  destroy(): void {
    resetConnection(this.#socket);
  }

  /**
   * Megabytes can lie in the kernel's buffers for a client that reads slowly: its pong says that it has read them. Nothing may follow
   * the Close, so this is the last ping; a client that does not answer it is judged by TCP.
   */
  async #deliver(delivered: Promise<void>): Promise<void> {
    await within(this.#limits.deliveryTimeoutMs, Promise.race([delivered, this.#socketClosed.promise]));
  }

  #ping(ping: number): boolean {
    if (this.#webSocket.readyState !== WebSocket.OPEN) return false;
    this.#webSocket.ping(String(ping), false, () => undefined); // its failure is the connection's, told by 'close'
    return true;
  }

  /**
   * "The connection is up", as the kubelet says it: an empty payload on the lowest output that was asked for. The kubelet says so right
   * after the 101; we when the command has started, since kubectl 1.29 prints `Unknown stream id 1, discarding message` about a message
   * that comes before it has set up its streams.
   */
  #announce(): void {
    if (this.#announced) return;
    this.#announced = true;
    const { stdout, stderr } = this.#wanted;
    this.#send(stdout ? CHANNEL.stdout : stderr ? CHANNEL.stderr : CHANNEL.error, EMPTY);
  }

  #sink(channel: Channel): OutputSink {
    return { write: chunk => this.#send(channel, chunk) };
  }

  #send(channel: Channel, payload: Buffer): boolean {
    if (this.#webSocket.readyState !== WebSocket.OPEN) return true; // the session learns of it from `closed`
    if (payload.length > 0) this.#keepalive.outputWritten();
    this.#cork.cork();
    if (this.#protocol.base64) {
      this.#webSocket.send(encodeBase64(channel, payload));
    } else {
      // Past ws, which would have header and payload in one buffer; it writes its own frames whole and at once, so ours fit between them.
      this.#socket.write(messageHeader(channel, payload.length));
      if (payload.length > 0) this.#socket.write(payload);
    }
    return this.#socket.writableLength < this.#limits.highWaterMarkBytes;
  }

  #receive(raw: RawData): void {
    if (this.closed.aborted) return; // a peer that broke the protocol is not heard
    const message = Buffer.isBuffer(raw) ? raw : Array.isArray(raw) ? Buffer.concat(raw) : Buffer.from(raw);
    // Like Go's server we take text messages as bytes, in every subprotocol.
    const decoded = this.#protocol.base64 ? decodeBase64(message) : decodeBinary(message, this.#protocol);
    switch (decoded.kind) {
      case 'data':
        if (decoded.channel === CHANNEL.stdin && this.#wanted.stdin && !this.#stdin.push(decoded.payload)) {
          this.#stall.full(decoded.payload.length + MESSAGE_COST_BYTES);
        }
        if (decoded.channel === CHANNEL.resize && this.#wanted.tty) this.#sizes.push(decoded.payload);
        break;
      case 'close':
        if (decoded.channel === CHANNEL.stdin) this.#stdin.end();
        break;
      case 'malformed':
        this.#violated(PROTOCOL_ERROR, decoded.why);
        break;
      case 'ignored':
    }
  }

  #pong(data: Buffer): void {
    if (this.#webSocket.readyState !== WebSocket.OPEN) return;
    if (this.#unsentPongs >= MAX_UNSENT_PONGS) {
      this.#violated(POLICY_VIOLATION, 'too many PINGs');
      return;
    }
    this.#stall.ping();
    this.#unsentPongs += 1;
    this.#webSocket.pong(data, false, () => (this.#unsentPongs -= 1));
  }

  /** Its end is a Status like any other, and a close frame that says the same to whoever does not read Statuses. */
  #violated(closeCode: number, why: string): void {
    this.#violation ??= { closeCode, why };
    this.#abort(new SessionEnded('protocol_error', why));
  }

  #lose(reason: SessionEnded): void {
    this.#lost = true;
    this.#abort(reason);
    if (this.#finishing) this.#webSocket.terminate(); // it has been told everything
  }

  #abort(reason: SessionEnded): void {
    this.#closing.abort(reason); // only the first counts
  }
}
