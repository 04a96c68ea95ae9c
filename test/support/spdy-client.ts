import { once } from 'node:events';
import type { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { Readable, type Duplex } from 'node:stream';
import { constants, createDeflate, inflateSync, type Deflate } from 'node:zlib';
import { HEADER_DICTIONARY } from '../../src/spdy/dictionary.ts';
import { dial, type Endpoint } from './dial.ts';

// A SPDY client with a codec of its own, on Node's zlib: an oracle for src/spdy, from which it takes the dictionary only
// (a unit test compares that with the draft's hash). It behaves like client-go, and can misbehave.

export interface SpdyDialOptions extends Endpoint {
  /** With its query. */
  readonly path: string;
  readonly method?: string;
  /** One `X-Stream-Protocol-Version` each, as client-go sends them. */
  readonly protocols?: readonly string[];
  /** Further headers; `Content-Length: 0` is sent unless another length or encoding is named here. */
  readonly headers?: readonly (readonly [string, string])[];
  /** Sent in the same write as the request: a body, or frames that come too early. */
  readonly behind?: Buffer;
}

/** The answer to an upgrade request: a client where it was 101, else the body. */
export interface SpdyUpgrade {
  readonly status: number;
  /** Names in lower case, in the order of the wire, repeated ones included. */
  readonly headers: readonly (readonly [string, string])[];
  header(name: string): string | undefined;
  readonly body: string;
  readonly client: SpdyClient | undefined;
  /** Breaks the connection off with a TCP RST. */
  readonly reset: () => void;
}

/** Connects, asks for the upgrade and reads the answer. */
export async function dialSpdy(options: SpdyDialOptions): Promise<SpdyUpgrade> {
  const host = options.host ?? '127.0.0.1';
  const { socket, reset } = await dial(options);
  const extra = options.headers ?? [];
  const framed = extra.some(([name]) => /^(content-length|transfer-encoding)$/i.test(name));
  const lines = [
    `${options.method ?? 'POST'} ${options.path} HTTP/1.1`,
    `Host: ${host}:${options.port}`,
    'User-Agent: Go-http-client/1.1',
    ...(framed ? [] : ['Content-Length: 0']),
    'Connection: Upgrade',
    'Upgrade: SPDY/3.1',
    ...(options.protocols ?? []).map(protocol => `X-Stream-Protocol-Version: ${protocol}`),
    ...extra.map(([name, value]) => `${name}: ${value}`),
  ];
  socket.write(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), options.behind ?? Buffer.alloc(0)]));
  return { ...(await readUpgrade(socket)), reset };
}

async function readUpgrade(socket: Socket): Promise<Omit<SpdyUpgrade, 'reset'>> {
  let received = Buffer.alloc(0);
  while (!received.includes('\r\n\r\n')) {
    const [chunk] = await Promise.race([once(socket, 'data'), once(socket, 'end').then(() => [undefined])]);
    if (!Buffer.isBuffer(chunk))
      throw new Error(`no answer to the upgrade, only ${JSON.stringify(received.toString())}`);
    received = Buffer.concat([received, chunk]);
    socket.pause();
  }
  const end = received.indexOf('\r\n\r\n');
  const [statusLine = '', ...lines] = received.toString('latin1', 0, end).split('\r\n');
  const headers = lines.map(line => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
  });
  const status = Number(statusLine.split(' ')[1]);
  const behind = received.subarray(end + 4);
  const header = (name: string): string | undefined => headers.find(([other]) => other === name.toLowerCase())?.[1];
  if (status === 101) {
    return { status, headers, header, body: '', client: new SpdyClient(socket, behind) };
  }
  socket.unshift(behind); // a refusal closes its connection
  return { status, headers, header, body: await text(socket), client: undefined };
}

/** A frame as the peer sent it; header blocks are inflated. */
export type ReceivedFrame =
  | { readonly kind: 'SYN_REPLY'; readonly id: number; readonly block: Buffer }
  | { readonly kind: 'RST_STREAM'; readonly id: number; readonly status: number }
  | { readonly kind: 'PING'; readonly id: number }
  | { readonly kind: 'GOAWAY'; readonly lastGoodId: number; readonly status: number }
  | { readonly kind: 'DATA'; readonly id: number; readonly payload: Buffer; readonly fin: boolean }
  | { readonly kind: 'other'; readonly type: number };

/** The client's end of an upgraded connection; any duplex will do. */
export class SpdyClient {
  readonly socket: Duplex;
  /** All frames of the peer, in order. */
  readonly frames: ReceivedFrame[] = [];
  /** Resolves with the status of the peer's GOAWAY; with undefined when it closes without one. */
  readonly goneAway: Promise<number | undefined>;
  /** Resolves when the peer has closed its direction, with FIN or with a reset. */
  readonly closed: Promise<void>;
  /** Go's clients do. */
  answersPings = true;
  readonly #streams = new Map<number, ClientStream>();
  readonly #waiters = new Set<() => void>();
  readonly #deflate: Deflate = createDeflate({ level: 9, dictionary: HEADER_DICTIONARY });
  #deflated: Buffer[] = [];
  #compressedReplies: Buffer = Buffer.alloc(0);
  #repliesBytes = 0;
  #received: Buffer = Buffer.alloc(0);
  #nextId = 1;
  #nextPing = 1;
  #ended = false;

  constructor(socket: Duplex, behind: Buffer = Buffer.alloc(0)) {
    this.socket = socket;
    this.#deflate.on('data', (bytes: Buffer) => this.#deflated.push(bytes));
    this.closed = new Promise(resolve => {
      const over = (): void => {
        this.#ended = true;
        for (const stream of this.#streams.values()) stream.cut();
        this.#wake();
        resolve();
      };
      socket.once('end', over);
      socket.once('close', over);
    });
    socket.on('error', () => undefined); // `closed` tells of it
    this.goneAway = this.frame('GOAWAY').then(frame => frame?.status);
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    this.#receive(behind);
    socket.resume();
  }

  /** Opens a stream and waits for its SYN_REPLY. Rejects when it is reset, or the connection closes. */
  async open(headers: Readonly<Record<string, string>>, options: StreamOptions = {}): Promise<ClientStream> {
    const stream = await this.openUnanswered(headers, options);
    await this.#until(() => stream.replied || stream.resetStatus !== undefined || this.#ended);
    if (stream.resetStatus !== undefined) throw new Error(`stream ${stream.id} was reset: ${stream.resetStatus}`);
    if (!stream.replied) throw new Error(`connection closed before the reply on stream ${stream.id}`);
    return stream;
  }

  /** Sends a SYN_STREAM and waits for nothing. */
  async openUnanswered(
    headers: Readonly<Record<string, string>>,
    { id = this.#nextId, fin = false, onData }: StreamOptions = {},
  ): Promise<ClientStream> {
    this.#nextId = id + 2;
    const stream = new ClientStream(this, id, onData);
    this.#streams.set(id, stream);
    const block = await this.deflate(plainBlock(headers));
    this.raw(controlFrame(1, fin ? 1 : 0, Buffer.concat([words(id, 0), Buffer.alloc(2), block])));
    return stream;
  }

  /** Asks with an odd id and waits for the same id to come back, or for the connection's end: then false. */
  async ping(id = this.#nextPing): Promise<boolean> {
    this.#nextPing = id + 2;
    this.raw(controlFrame(6, 0, words(id)));
    return (await this.frame('PING', frame => frame.id === id)) !== undefined;
  }

  goAway(status = 0): void {
    this.raw(controlFrame(7, 0, words(0, status)));
  }

  /** Any bytes at all. */
  raw(bytes: Buffer): boolean {
    return this.socket.write(bytes);
  }

  /** Compresses a block into this connection's zlib stream, flushed as Go does. One at a time. */
  async deflate(plain: Buffer): Promise<Buffer> {
    this.#deflate.write(plain);
    await new Promise<void>(resolve => this.#deflate.flush(constants.Z_SYNC_FLUSH, () => resolve()));
    const block = Buffer.concat(this.#deflated);
    this.#deflated = [];
    return block;
  }

  /** The first frame of a kind, received already or still to come; undefined when the connection closes without. */
  async frame<K extends ReceivedFrame['kind']>(
    kind: K,
    accept: (frame: Extract<ReceivedFrame, { kind: K }>) => boolean = () => true,
  ): Promise<Extract<ReceivedFrame, { kind: K }> | undefined> {
    const wanted = (frame: ReceivedFrame): frame is Extract<ReceivedFrame, { kind: K }> =>
      isOfKind(frame, kind) && accept(frame);
    let looked = 0;
    let found: Extract<ReceivedFrame, { kind: K }> | undefined;
    await this.#until(() => {
      for (; found === undefined && looked < this.frames.length; looked += 1) {
        const frame = this.frames[looked];
        if (frame !== undefined && wanted(frame)) found = frame;
      }
      return found !== undefined || this.#ended;
    });
    return found;
  }

  /** What has been received for a stream that this client believes to be open, or closed. */
  stream(id: number): ClientStream | undefined {
    return this.#streams.get(id);
  }

  /** Reads no more, so that the peer meets a full socket. */
  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  /** Sends FIN on the transport. */
  end(): void {
    this.socket.end();
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** For ClientStream: resolves when the condition holds; it is looked at after every frame. */
  async until(condition: () => boolean): Promise<void> {
    await this.#until(() => condition() || this.#ended);
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>(resolve => this.#waiters.add(resolve));
    }
  }

  #wake(): void {
    for (const waiter of this.#waiters) waiter();
    this.#waiters.clear();
  }

  #receive(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    for (;;) {
      if (this.#received.length < 8) break;
      const length = this.#received.readUIntBE(5, 3);
      if (this.#received.length < 8 + length) break;
      this.#frame(this.#received.subarray(0, 8), this.#received.subarray(8, 8 + length));
      this.#received = this.#received.subarray(8 + length);
    }
    this.#wake();
  }

  #frame(header: Buffer, payload: Buffer): void {
    const frame = this.#parse(header, payload);
    const stream = 'id' in frame ? this.#streams.get(frame.id) : undefined;
    if (frame.kind !== 'DATA' || stream?.keepsData !== false) this.frames.push(frame);
    stream?.take(frame);
    // Like Go: every PING that is not an answer to one of ours is sent back.
    if (frame.kind === 'PING' && frame.id % 2 === 0 && this.answersPings) this.raw(controlFrame(6, 0, words(frame.id)));
  }

  #parse(header: Buffer, payload: Buffer): ReceivedFrame {
    const first = header.readUInt32BE(0);
    const fin = (header.readUInt8(4) & 1) === 1;
    if (first < 0x80000000) return { kind: 'DATA', id: first, payload, fin };
    if (header.readUInt16BE(0) !== 0x8003)
      throw new Error(`control frame of another version: ${header.toString('hex')}`);
    const type = header.readUInt16BE(2);
    switch (type) {
      case 2:
        return { kind: 'SYN_REPLY', id: payload.readUInt32BE(0), block: this.#inflate(payload.subarray(4)) };
      case 3:
        return { kind: 'RST_STREAM', id: payload.readUInt32BE(0), status: payload.readUInt32BE(4) };
      case 6:
        return { kind: 'PING', id: payload.readUInt32BE(0) };
      case 7:
        return { kind: 'GOAWAY', lastGoodId: payload.readUInt32BE(0), status: payload.readUInt32BE(4) };
      default:
        return { kind: 'other', type };
    }
  }

  /** Node has no synchronous streaming inflate: everything so far is inflated again, and the new tail taken. */
  #inflate(block: Buffer): Buffer {
    this.#compressedReplies = Buffer.concat([this.#compressedReplies, block]);
    const all = inflateSync(this.#compressedReplies, {
      dictionary: HEADER_DICTIONARY,
      finishFlush: constants.Z_SYNC_FLUSH,
    });
    const tail = all.subarray(this.#repliesBytes);
    this.#repliesBytes = all.length;
    return tail;
  }
}

export interface StreamOptions {
  readonly id?: number;
  readonly fin?: boolean;
  /** Takes the stream's data as it comes; nothing of it is kept, nor its frames, so that memory does not depend on it. */
  readonly onData?: ((data: Buffer) => void) | undefined;
}

/** A stream that the client has opened. */
export class ClientStream {
  readonly id: number;
  replied = false;
  resetStatus: number | undefined;
  /** The peer has ended its direction, by FIN, RST_STREAM or by closing the connection. */
  over = false;
  /** It was ended by FIN. */
  finished = false;
  readonly #client: SpdyClient;
  readonly #onData: ((data: Buffer) => void) | undefined;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(client: SpdyClient, id: number, onData?: (data: Buffer) => void) {
    this.#client = client;
    this.id = id;
    this.#onData = onData;
  }

  /** For SpdyClient: whether data is collected here. */
  get keepsData(): boolean {
    return this.#onData === undefined;
  }

  /** What has arrived so far. */
  get received(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  /** Waits for the end of the peer's direction, however it ends, and returns all that arrived. */
  async ended(): Promise<Buffer> {
    await this.#client.until(() => this.over);
    return this.received;
  }

  /** Waits until at least this many bytes have arrived, or the end. */
  async receivedBytes(count: number): Promise<Buffer> {
    await this.#client.until(() => this.over || this.#bytes >= count);
    return this.received;
  }

  /** Writes in frames of 32 KiB, as Go's copying does, or of that size, and waits for the socket where it is full. */
  async write(data: Buffer | string, frameBytes = 32_768): Promise<void> {
    const bytes = Buffer.from(data);
    for (let offset = 0; offset < bytes.length; offset += frameBytes) {
      const room = this.#client.raw(dataFrame(this.id, bytes.subarray(offset, offset + frameBytes), false));
      if (!room) await Promise.race([once(this.#client.socket, 'drain'), this.#client.closed]);
    }
  }

  /** Half-closes: DATA of length 0 with FIN. */
  end(): void {
    this.#client.raw(dataFrame(this.id, Buffer.alloc(0), true));
  }

  reset(status = 5): void {
    this.#client.raw(controlFrame(3, 0, words(this.id, status)));
  }

  /** For SpdyClient: a frame of this stream. */
  take(frame: ReceivedFrame): void {
    if (frame.kind === 'SYN_REPLY') this.replied = true;
    if (frame.kind === 'RST_STREAM') {
      this.resetStatus = frame.status;
      this.over = true;
    }
    // Go's client drops DATA that comes before the SYN_REPLY.
    if (frame.kind === 'DATA' && this.replied && !this.over) {
      if (this.#onData === undefined) this.#chunks.push(frame.payload);
      else this.#onData(frame.payload);
      this.#bytes += frame.payload.length;
      this.finished ||= frame.fin;
      this.over ||= frame.fin;
    }
  }

  /** For SpdyClient: the connection has closed. */
  cut(): void {
    this.over = true;
  }
}

export interface ExecOverSpdyOptions extends Omit<SpdyDialOptions, 'protocols'> {
  readonly protocols: readonly string[];
  /** Opens a stdin stream. A readable is sent as it comes, then half-closed. */
  readonly stdin?: Buffer | string | Readable;
  /** Opens a resize stream from v3 on, and no stderr. */
  readonly tty?: boolean;
  /** Opens a stdout stream; it must agree with the path's query. True by default. */
  readonly stdout?: boolean;
  /** Opens a stderr stream unless there is a TTY; it must agree with the path's query. True by default. */
  readonly stderr?: boolean;
  /** Sent on the resize stream when all streams are open. */
  readonly size?: { readonly width: number; readonly height: number };
}

export interface ExecOverSpdyResult {
  /** The server's choice; empty where it named none. */
  readonly protocol: string;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  /** A Status for v4, plain text before. */
  readonly errorStream: string;
  /** Every stream ended by FIN or RST_STREAM, none by the connection's end. client-go sees no difference: it says success. */
  readonly complete: boolean;
  readonly frames: readonly ReceivedFrame[];
}

/**
 * Runs a command as client-go does: error, stdin, stdout, stderr and resize are opened strictly one after the other, each
 * after the last one's reply; when the outputs and the error stream have ended it resets its streams, says GOAWAY, closes.
 *
 * @throws {Error} with status and body when the upgrade is refused
 */
export async function execOverSpdy(options: ExecOverSpdyOptions): Promise<ExecOverSpdyResult> {
  const upgrade = await dialSpdy(options);
  const { client } = upgrade;
  if (client === undefined) throw new Error(`${upgrade.status} ${upgrade.body}`);
  try {
    const protocol = upgrade.header('x-stream-protocol-version') ?? '';
    const tty = options.tty ?? false;
    const resizes = tty && /^v[345]\./.test(protocol);
    const open = (type: string): Promise<ClientStream> => client.open({ streamtype: type });
    const error = await open('error');
    const stdin = options.stdin === undefined ? undefined : await open('stdin');
    const stdout = (options.stdout ?? true) ? await open('stdout') : undefined;
    const stderr = (options.stderr ?? true) && !tty ? await open('stderr') : undefined;
    const resize = resizes ? await open('resize') : undefined;
    if (resize !== undefined && options.size !== undefined) {
      const { width, height } = options.size;
      await resize.write(`${JSON.stringify({ Width: width, Height: height })}\n`);
    }
    // Not awaited before the end: a command may end without reading its input.
    const sent = stdin === undefined || options.stdin === undefined ? undefined : send(stdin, options.stdin);
    if (options.stdin instanceof Readable) sent?.catch(() => undefined); // cut off at the end, below
    const streams = [error, stdin, stdout, stderr, resize].filter(stream => stream !== undefined);
    // Version 1 has no use for its error stream, and the server resets it at once.
    const awaited = [stdout, stderr, error].filter(stream => stream !== undefined);
    await Promise.all(awaited.map(stream => stream.ended()));
    if (options.stdin instanceof Readable) options.stdin.destroy(); // or it would be sent on behind the end
    const complete = awaited.every(({ finished, resetStatus }) => finished || resetStatus !== undefined);
    for (const stream of streams) stream.reset();
    client.goAway();
    client.end();
    await client.closed;
    if (!(options.stdin instanceof Readable)) await sent;
    return {
      protocol,
      stdout: stdout?.received ?? Buffer.alloc(0),
      stderr: stderr?.received ?? Buffer.alloc(0),
      errorStream: error.received.toString(),
      complete,
      frames: client.frames,
    };
  } finally {
    client.destroy();
  }
}

async function send(stream: ClientStream, input: Buffer | string | Readable): Promise<void> {
  if (input instanceof Readable) {
    for await (const chunk of input as AsyncIterable<Buffer>) await stream.write(chunk);
  } else {
    await stream.write(input);
  }
  stream.end();
}

export function controlFrame(type: number, flags: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(0x8003, 0);
  header.writeUInt16BE(type, 2);
  header.writeUInt8(flags, 4);
  header.writeUIntBE(payload.length, 5, 3);
  return Buffer.concat([header, payload]);
}

export function dataFrame(id: number, payload: Buffer, fin: boolean): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32BE(id, 0);
  header.writeUInt8(fin ? 1 : 0, 4);
  header.writeUIntBE(payload.length, 5, 3);
  return Buffer.concat([header, payload]);
}

/** The plain bytes of a header block. */
export function plainBlock(headers: Readonly<Record<string, string>>): Buffer {
  const entries = Object.entries(headers);
  const parts = entries.flat().map(word => Buffer.concat([words(word.length), Buffer.from(word, 'latin1')]));
  return Buffer.concat([words(entries.length), ...parts]);
}

/** Big-endian words of 32 bits. */
export function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => bytes.writeUInt32BE(value, 4 * index));
  return bytes;
}

function isOfKind<K extends ReceivedFrame['kind']>(
  frame: ReceivedFrame,
  kind: K,
): frame is Extract<ReceivedFrame, { kind: K }> {
  return frame.kind === kind;
}
