import type { Readable, Writable } from 'node:stream';
import { WebSocket, type RawData } from 'ws';
import { CHANNEL, CLOSE_CHANNEL, decodeBinary, encodeBinary } from '../remotecommand/channel.ts';
import { ClientError, messageOf } from './client-error.ts';
import { headersOf, urlOf, type Connection } from './connection.ts';
import { exitCodeOf } from './exec-status.ts';
import { Input } from './input.ts';
import { Keepalive } from './keepalive.ts';
import type { TerminalSize } from './local-terminal.ts';
import { Output } from './output.ts';
import { connectFailure, refusalOf } from './refusal.ts';

const SUBPROTOCOL = 'v5.channel.k8s.io';
const HANDSHAKE_TIMEOUT_MS = 30_000;
const CLOSE_TIMEOUT_MS = 2_000; // for the server to hang up after it has said goodbye
const TCP_KEEPALIVE_MS = 30_000;
const MAX_MESSAGE_BYTES = 32 * 1024 * 1024; // as Kubernetes' own servers take them
const MAX_STATUS_BYTES = 1024 * 1024;

/** What to run, and where. */
export interface RemoteCommand {
  readonly namespace: string;
  readonly pod: string;
  /** May be missing where the pod has one container only. */
  readonly container?: string | undefined;
  readonly command: readonly string[];
}

/** This end of the streams. None of them is closed; a stdin that is still open is left paused. */
export interface LocalStreams {
  /** Missing: the command gets no stdin. */
  readonly stdin?: Readable | undefined;
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** Present: the command gets a TTY. Started when the connection stands, stopped when it has ended. */
  readonly terminal?: { start(onSize: (size: TerminalSize) => void): void; stop(): void } | undefined;
}

/**
 * Runs a command in a container through the exec call of the Kubernetes API, over WebSocket (v5.channel.k8s.io), and returns
 * its exit code when all its output has left this process.
 *
 * @throws {ClientError} when the server refuses, the connection breaks, or ends without saying how the command did
 */
export async function execRemotely(
  connection: Connection,
  command: RemoteCommand,
  local: LocalStreams,
): Promise<number> {
  const exec = new RemoteExec(connection, command, local);
  try {
    return await exec.run();
  } finally {
    exec.dispose();
  }
}

class RemoteExec {
  readonly #connection: Connection;
  readonly #socket: WebSocket;
  readonly #stdout: Output;
  readonly #stderr: Output;
  readonly #input: Input | undefined;
  readonly #terminal: LocalStreams['terminal'];
  readonly #keepalive: Keepalive;
  readonly #closed = Promise.withResolvers<undefined>();
  readonly #statusPieces: Buffer[] = [];
  #statusBytes = 0;
  #opened = false;
  /** How the connection ended, for the message when that was all that happened. */
  #ending = '';

  constructor(connection: Connection, command: RemoteCommand, local: LocalStreams) {
    this.#connection = connection;
    this.#terminal = local.terminal;
    const onDrain = (): void => this.#readOn();
    this.#stdout = new Output(local.stdout, onDrain);
    this.#stderr = new Output(local.stderr, onDrain);
    this.#socket = openSocket(connection, command, local);
    this.#keepalive = new Keepalive(this.#socket, () =>
      this.#fail(new ClientError('the server has stopped answering: it is unknown how the command ended')),
    );
    if (local.stdin !== undefined) this.#input = this.#inputFrom(local.stdin, { tty: local.terminal !== undefined });
    // All in the tick that made the socket, for ws loses what it emits earlier.
    this.#socket
      .on('unexpected-response', (_request, response) => {
        void refusalOf(response).then(refusal => this.#fail(refusal));
      })
      .on('upgrade', ({ socket }) => void socket.setKeepAlive(true, TCP_KEEPALIVE_MS))
      .on('open', () => this.#start())
      .on('message', (message, isBinary) => this.#receive(message, isBinary))
      .on('error', error => this.#onError(error))
      .on('close', (code, reason) => this.#onClose(code, reason.toString()));
  }

  async run(): Promise<number> {
    await Promise.race([this.#closed.promise, this.#stdout.failed, this.#stderr.failed]);
    await this.#stdout.flush();
    await this.#stderr.flush();
    if (this.#statusBytes > 0) return exitCodeOf(Buffer.concat(this.#statusPieces));
    // Other clients call this success. Nobody knows whether it was.
    const detail = this.#ending === '' ? '' : ` (${this.#ending})`;
    throw new ClientError(`the connection ended without a status: it is unknown how the command ended${detail}`);
  }

  /** Whatever happened: nothing of ours stays open or listens. */
  dispose(): void {
    this.#terminal?.stop();
    this.#keepalive.stop();
    this.#input?.stop();
    this.#socket.terminate();
  }

  #start(): void {
    this.#opened = true;
    this.#keepalive.start();
    this.#terminal?.start(({ width, height }) => {
      const size = Buffer.from(`${JSON.stringify({ Width: width, Height: height })}\n`);
      this.#socket.send(encodeBinary(CHANNEL.resize, size), () => undefined);
    });
    this.#input?.start();
  }

  #inputFrom(source: Readable, { tty }: { tty: boolean }): Input {
    const socket = this.#socket;
    return new Input({
      source,
      sink: {
        get bufferedAmount() {
          return socket.bufferedAmount;
        },
        send: (piece, sent) => {
          this.#keepalive.inputSent();
          socket.send(encodeBinary(CHANNEL.stdin, piece), sent);
        },
        end: () => {
          // The end of a terminal's input is a key that the command reads; half-closing would end its output.
          if (!tty) socket.send(Buffer.from([CLOSE_CHANNEL, CHANNEL.stdin]), () => undefined);
        },
      },
      onError: error => this.#fail(new ClientError(`reading the input: ${error.message}`, { cause: error })),
    });
  }

  #receive(message: RawData, isBinary: boolean): void {
    if (!isBinary || !Buffer.isBuffer(message)) {
      this.#fail(new ClientError('the server broke the protocol: a text message'));
      return;
    }
    const decoded = decodeBinary(message, { closeSignal: false }); // servers send no CLOSE
    if (decoded.kind !== 'data' || decoded.payload.length === 0) return;
    if (decoded.channel === CHANNEL.stdout) this.#stdout.write(decoded.payload);
    else if (decoded.channel === CHANNEL.stderr) this.#stderr.write(decoded.payload);
    else if (decoded.channel === CHANNEL.error) this.#addStatus(decoded.payload);
    if (this.#stdout.full || this.#stderr.full) this.#socket.pause();
  }

  #addStatus(piece: Buffer): void {
    this.#statusBytes += piece.length;
    if (this.#statusBytes > MAX_STATUS_BYTES) {
      this.#fail(new ClientError('the server broke the protocol: an endless status'));
      return;
    }
    this.#statusPieces.push(piece);
  }

  #readOn(): void {
    if (!this.#stdout.full && !this.#stderr.full) this.#socket.resume();
  }

  #onError(error: Error): void {
    if (this.#opened)
      this.#ending = messageOf(error); // 'close' follows
    else this.#fail(connectFailure(error, this.#connection));
  }

  #onClose(code: number, reason: string): void {
    const normal = code === 1000 && reason === '';
    if (this.#ending === '' && !normal) this.#ending = `close code ${code}${reason === '' ? '' : ` ${reason}`}`;
    this.#closed.resolve(undefined);
  }

  #fail(error: ClientError): void {
    this.#closed.reject(error);
  }
}

function openSocket(connection: Connection, command: RemoteCommand, local: LocalStreams): WebSocket {
  const path = ['namespaces', command.namespace, 'pods', command.pod, 'exec'].map(encodeURIComponent).join('/');
  const url = urlOf(connection, `/api/v1/${path}`, queryOf(command, local));
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const options = {
    ...connection.tls,
    headers: headersOf(connection),
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    closeTimeout: CLOSE_TIMEOUT_MS, // not yet in the published types
    maxPayload: MAX_MESSAGE_BYTES,
    perMessageDeflate: false,
  };
  return new WebSocket(url, SUBPROTOCOL, options);
}

function queryOf({ command, container }: RemoteCommand, { stdin, terminal }: LocalStreams): URLSearchParams {
  const query = new URLSearchParams(command.map((argument): [string, string] => ['command', argument]));
  if (container !== undefined) query.set('container', container);
  if (stdin !== undefined) query.set('stdin', 'true');
  query.set('stdout', 'true');
  // A terminal has one output.
  query.set(terminal === undefined ? 'stderr' : 'tty', 'true');
  return query;
}
