import type { Socket } from 'node:net';
import { execPath, type AskedExec, type ExecClient, type ExecListener, type OpenExec } from './exec-client.ts';
import { upgrade } from './upgrade.ts';

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const ERROR = 3;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;
const FIN = 0x80;
const MASKED = 0x80;
const MASK = Buffer.from([0x5a, 0x96, 0x3c, 0xe1]);
const messages = new WeakMap<Buffer, Buffer>();

export interface WebSocketTarget {
  readonly protocol: string;
  readonly port: number;
  readonly tls: boolean;
}

/** Speaks what execlet needs to hear, and checks little. */
export class WebSocketClient implements ExecClient {
  readonly #target: WebSocketTarget;

  constructor(target: WebSocketTarget) {
    this.#target = target;
  }

  async open(asked: AskedExec, listener: ExecListener): Promise<OpenExec> {
    const socket = await upgrade(this.#target, {
      method: 'GET',
      path: execPath(asked),
      headers: {
        Upgrade: 'websocket',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==',
        'Sec-WebSocket-Protocol': this.#target.protocol,
      },
    });
    const frames = new FrameReader(socket, listener);
    socket.on('data', (chunk: Buffer) => frames.push(chunk));
    socket.on('drain', () => listener.drained());
    socket.once('close', () => listener.ended(frames.outcome()));
    socket.on('error', () => undefined); // 'close' follows
    socket.resume();
    return { write: chunk => socket.write(stdinMessage(chunk)), close: () => socket.destroy() };
  }

  close(): void {
    // every exec has a connection of its own
  }
}

/** A message on stdin. The same few chunks are sent again and again: each is masked once. */
function stdinMessage(payload: Buffer): Buffer {
  const known = messages.get(payload);
  if (known !== undefined) return known;
  const message = maskedFrame(BINARY, Buffer.concat([Buffer.from([STDIN]), payload]));
  messages.set(payload, message);
  return message;
}

function maskedFrame(opcode: number, payload: Buffer): Buffer {
  const { length } = payload;
  const lengthBytes = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const header = Buffer.alloc(2 + lengthBytes);
  header[0] = FIN | opcode;
  header[1] = MASKED | (lengthBytes === 0 ? length : lengthBytes === 2 ? 126 : 127);
  if (lengthBytes === 2) header.writeUInt16BE(length, 2);
  if (lengthBytes === 8) header.writeUInt32BE(length, 6);
  const masked = payload.map((byte, index) => byte ^ (MASK[index % MASK.length] ?? 0));
  return Buffer.concat([header, MASK, masked]);
}

/** Reads the server's frames; payload is handed on as it comes. */
class FrameReader {
  readonly #socket: Socket;
  readonly #listener: ExecListener;
  #pending: Buffer = Buffer.alloc(0);
  #opcode = 0;
  #left = 0;
  #channel = -1;
  #control = '';
  #status = '';

  constructor(socket: Socket, listener: ExecListener) {
    this.#socket = socket;
    this.#listener = listener;
  }

  outcome(): Error | undefined {
    return this.#status.includes('"status":"Success"') ? undefined : new Error(`the status is: ${this.#status}`);
  }

  push(chunk: Buffer): void {
    let rest = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    this.#pending = Buffer.alloc(0);
    while (rest.length > 0) {
      if (this.#left === 0) {
        const headerBytes = this.#header(rest);
        if (headerBytes === 0) {
          this.#pending = rest;
          return;
        }
        rest = rest.subarray(headerBytes);
      }
      const piece = rest.subarray(0, this.#left);
      rest = rest.subarray(piece.length);
      this.#left -= piece.length;
      this.#take(piece);
    }
  }

  /** Reads a frame's header, and the channel where it is a message; answers its length, or 0 when it is not complete. */
  #header(bytes: Buffer): number {
    const [first = 0, second] = bytes;
    if (second === undefined) return 0;
    const lengthBytes = second === 126 ? 2 : second === 127 ? 8 : 0;
    if (bytes.length < 2 + lengthBytes) return 0;
    this.#opcode = first & 0x0f;
    this.#left = lengthBytes === 2 ? bytes.readUInt16BE(2) : lengthBytes === 8 ? bytes.readUInt32BE(6) : second;
    this.#control = '';
    this.#channel = -1;
    if (this.#left === 0) this.#take(Buffer.alloc(0));
    return 2 + lengthBytes;
  }

  #take(piece: Buffer): void {
    if (this.#opcode !== BINARY) {
      this.#control += piece.toString('latin1');
      if (this.#left === 0) this.#answer();
      return;
    }
    let payload = piece;
    if (this.#channel < 0) {
      this.#channel = piece[0] ?? -1;
      payload = piece.subarray(1);
    }
    if (payload.length === 0) return; // "the connection is up"
    if (this.#channel === STDOUT) this.#listener.stdout(payload);
    else if (this.#channel === STDERR) this.#listener.stderr(payload);
    else if (this.#channel === ERROR) this.#status += payload.toString();
  }

  #answer(): void {
    const payload = Buffer.from(this.#control, 'latin1');
    if (this.#opcode === PING) this.#socket.write(maskedFrame(PONG, payload));
    if (this.#opcode === CLOSE) this.#socket.end(maskedFrame(CLOSE, payload));
  }
}
