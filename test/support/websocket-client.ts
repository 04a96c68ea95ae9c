import { once } from 'node:events';
import { Readable } from 'node:stream';
import { WebSocket } from 'ws';
import type { Issued } from './authority.ts';
import { dial } from './dial.ts';
import { SlowReader } from './slow-reader.ts';

/** One message: the channel that it names, and its payload with base64 undone. */
export interface ReceivedMessage {
  readonly channel: number;
  readonly payload: Buffer;
}

export interface WebSocketDialOptions {
  readonly url: string;
  /** Speaks TLS and trusts this certificate (PEM). */
  readonly ca?: string;
  /** A client certificate. */
  readonly certificate?: Issued | undefined;
  readonly headers?: Readonly<Record<string, string | string[]>> | undefined;
  /** The subprotocols to offer; none at all for the empty list. */
  readonly protocols: readonly string[];
  /** As every client must, and does unless told not to. */
  readonly answersPings?: boolean;
  /** Reads no faster than that. */
  readonly readBytesPerSecond?: number | undefined;
}

/** The client's end of a WebSocket, with a channel protocol of its own: it shares none of the daemon's code, and can misbehave. */
export class WebSocketClient {
  /** All messages of the peer, in order. */
  readonly messages: ReceivedMessage[] = [];
  /** The messages at which a Go client gives up: empty ones, and those of the other type. */
  readonly malformed: string[] = [];
  /** Resolves with the code of the close frame, or with 1006 where the connection ended without one. */
  readonly closed: Promise<number>;
  /** Breaks the connection off with a TCP RST. */
  readonly reset: () => void;
  readonly #webSocket: WebSocket;
  readonly #waiters = new Set<() => void>();
  readonly #receivedBytes = new Map<number, number>();
  #over = false;

  private constructor(webSocket: WebSocket, reset: () => void, readBytesPerSecond: number | undefined) {
    this.#webSocket = webSocket;
    this.reset = reset;
    const reader = readBytesPerSecond === undefined ? undefined : new SlowReader(readBytesPerSecond, webSocket);
    this.closed = new Promise(resolve => {
      webSocket.on('close', code => {
        this.#over = true;
        this.#wake();
        resolve(code);
      });
    });
    webSocket.on('error', () => undefined); // `closed` tells of it
    webSocket.on('message', (data: Buffer, isBinary: boolean) => {
      this.#receive(data, isBinary);
      reader?.took(data.length);
      this.#wake();
    });
  }

  /** @throws {Error} when the upgrade is refused */
  static async open(options: WebSocketDialOptions): Promise<WebSocketClient> {
    const { url, ca, certificate, headers, protocols, answersPings = true, readBytesPerSecond } = options;
    const port = Number(new URL(url).port);
    const { socket, reset } = await dial({ port, ...(ca !== undefined && { ca }), certificate });
    const webSocket = new WebSocket(url, [...protocols], {
      perMessageDeflate: false,
      autoPong: answersPings,
      createConnection: () => socket,
      ...(headers && { headers }),
    });
    const client = new WebSocketClient(webSocket, reset, readBytesPerSecond);
    await once(webSocket, 'open');
    return client;
  }

  /** The subprotocol of the answer; empty where there was none. */
  get protocol(): string {
    return this.#webSocket.protocol;
  }

  /** What the channel has carried so far. */
  received(channel: number): Buffer {
    return Buffer.concat(this.messages.filter(message => message.channel === channel).map(({ payload }) => payload));
  }

  /** The length of that. */
  receivedBytes(channel: number): number {
    return this.#receivedBytes.get(channel) ?? 0;
  }

  /** Sends one message. Resolves when the kernel has taken it, or when the connection is over. */
  async send(channel: number, payload: Buffer): Promise<void> {
    await this.raw(
      this.#base64 ? `${channel}${payload.toString('base64')}` : Buffer.concat([Buffer.from([channel]), payload]),
    );
  }

  /** Half-closes a channel with v5's CLOSE signal. */
  async closeChannel(channel: number): Promise<void> {
    await this.raw(Buffer.from([255, channel]));
  }

  /** Any message at all; a string is sent as a text message. */
  async raw(message: Buffer | string): Promise<void> {
    await new Promise<void>(resolve => this.#webSocket.send(message, () => resolve()));
  }

  /** True when the same payload comes back as a pong, false when the connection ends before. */
  async ping(payload: string): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const pong = (data: Buffer): void => {
      if (data.toString() === payload) resolve(true);
    };
    this.#webSocket.on('pong', pong);
    this.#webSocket.ping(payload);
    void this.closed.then(() => resolve(false));
    return promise.finally(() => this.#webSocket.off('pong', pong));
  }

  /** Reads no more, so that the peer meets a full socket. */
  pause(): void {
    this.#webSocket.pause();
  }

  resume(): void {
    this.#webSocket.resume();
  }

  /** Starts the closing handshake. */
  close(): void {
    this.#webSocket.close(1000);
  }

  /** Resolves when the condition holds, looked at after every message, or when the connection is over. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition() && !this.#over) await new Promise<void>(resolve => this.#waiters.add(resolve));
  }

  get #base64(): boolean {
    return this.protocol.includes('base64');
  }

  #receive(data: Buffer, isBinary: boolean): void {
    if (isBinary === this.#base64) this.malformed.push(`a ${isBinary ? 'binary' : 'text'} message`);
    if (data.length === 0) this.malformed.push('a message without a channel');
    const channel = this.#base64 ? Number(data.toString('latin1', 0, 1)) : (data[0] ?? NaN);
    const payload = this.#base64 ? Buffer.from(data.toString('latin1', 1), 'base64') : data.subarray(1);
    this.messages.push({ channel, payload });
    this.#receivedBytes.set(channel, this.receivedBytes(channel) + payload.length);
  }

  #wake(): void {
    for (const waiter of this.#waiters) waiter();
    this.#waiters.clear();
  }
}

export interface WebSocketExec {
  /** The subprotocol of the answer; empty where there was none. */
  readonly protocol: string;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  /** What channel 3 carried. */
  readonly status: string;
  readonly closeCode: number;
  /** Every message, in order. */
  readonly messages: readonly ReceivedMessage[];
}

export interface WebSocketExecOptions extends WebSocketDialOptions {
  /** A readable is sent as it comes, without regard to the server's pace. */
  readonly stdin?: Buffer | Readable;
  readonly sizes?: readonly { readonly Width: number; readonly Height: number }[];
}

/**
 * Runs a command to its end. Input is closed by CLOSE where the subprotocol has it; a message is split no further than the caller
 * split it. The sizes are those of its terminal.
 */
export async function execOverWebSocket({
  stdin,
  sizes = [],
  ...options
}: WebSocketExecOptions): Promise<WebSocketExec> {
  const client = await WebSocketClient.open(options);
  for (const size of sizes) await client.send(4, Buffer.from(JSON.stringify(size)));
  const end = (): void => {
    if (client.protocol === 'v5.channel.k8s.io') void client.closeChannel(0);
  };
  if (stdin instanceof Readable) stdin.on('data', (chunk: Buffer) => void client.send(0, chunk)).on('end', end);
  else if (stdin !== undefined) {
    for (let at = 0; at < stdin.length; at += 32_768) void client.send(0, stdin.subarray(at, at + 32_768));
    end();
  }
  const closeCode = await client.closed;
  if (stdin instanceof Readable) stdin.destroy();
  return {
    protocol: client.protocol,
    stdout: client.received(1),
    stderr: client.received(2),
    status: client.received(3).toString(),
    closeCode,
    messages: client.messages,
  };
}
