import type { Socket } from 'node:net';
import { constants, createDeflate, type Deflate } from 'node:zlib';
import { FrameDecoder } from '../../src/spdy/decoder.ts';
import { HEADER_DICTIONARY } from '../../src/spdy/dictionary.ts';
import { encodeDataHeader, encodePing } from '../../src/spdy/encoder.ts';
import { FRAME_TYPE, MAX_DATA_PAYLOAD_BYTES, type ControlFrame } from '../../src/spdy/frame.ts';
import { execPath, type AskedExec, type ExecClient, type ExecListener, type OpenExec } from './exec-client.ts';
import { upgrade } from './upgrade.ts';

type StreamType = 'error' | 'stdin' | 'stdout' | 'stderr' | 'resize';

/**
 * Opens one stream after the other, each when the last one has been answered, as client-go does. Frames are read with execlet's own
 * decoder: the tests have another, and here only the daemon is looked at.
 */
export class SpdyClient implements ExecClient {
  readonly #target: { readonly protocol: string; readonly port: number; readonly tls: boolean };
  /** Every connection begins with the same header blocks. */
  readonly #blocks = new Map<string, Promise<readonly Buffer[]>>();

  constructor(target: { readonly protocol: string; readonly port: number; readonly tls: boolean }) {
    this.#target = target;
  }

  async open(asked: AskedExec, listener: ExecListener): Promise<OpenExec> {
    const types = streamsOf(asked);
    const blocks = await this.#blocksOf(types);
    const socket = await upgrade(this.#target, {
      method: 'POST',
      path: execPath(asked),
      headers: {
        Upgrade: 'SPDY/3.1',
        'Content-Length': '0',
        'X-Stream-Protocol-Version': this.#target.protocol,
      },
    });
    const connection = new SpdyExec(socket, types, listener);
    await connection.openStreams(blocks);
    return connection;
  }

  close(): void {
    // every exec has a connection of its own
  }

  async #blocksOf(types: readonly StreamType[]): Promise<readonly Buffer[]> {
    const key = types.join();
    const blocks = this.#blocks.get(key) ?? deflateBlocks(types);
    this.#blocks.set(key, blocks);
    return blocks;
  }
}

class SpdyExec implements OpenExec {
  readonly #socket: Socket;
  readonly #types: readonly StreamType[];
  readonly #listener: ExecListener;
  #replied: () => void = () => undefined;
  #status = '';

  constructor(socket: Socket, types: readonly StreamType[], listener: ExecListener) {
    this.#socket = socket;
    this.#types = types;
    this.#listener = listener;
    const decoder = new FrameDecoder({
      control: frame => this.#control(frame),
      data: (id, piece) => this.#data(id, piece),
    });
    socket.on('data', (chunk: Buffer) => decoder.push(chunk));
    socket.on('drain', () => listener.drained());
    socket.once('close', () => listener.ended(this.#outcome()));
    socket.on('error', () => undefined); // 'close' follows
    socket.resume();
  }

  async openStreams(blocks: readonly Buffer[]): Promise<void> {
    for (const [index, block] of blocks.entries()) {
      const replied = new Promise<void>(resolve => (this.#replied = resolve));
      this.#socket.write(synStream(idOf(index), block));
      await replied;
    }
  }

  write(chunk: Buffer): boolean {
    const id = idOf(this.#types.indexOf('stdin'));
    this.#socket.cork();
    for (let offset = 0; offset < chunk.length; offset += MAX_DATA_PAYLOAD_BYTES) {
      const payload = chunk.subarray(offset, offset + MAX_DATA_PAYLOAD_BYTES);
      this.#socket.write(encodeDataHeader(id, payload.length, false));
      this.#socket.write(payload);
    }
    this.#socket.uncork();
    return !this.#socket.writableNeedDrain;
  }

  close(): void {
    this.#socket.destroy();
  }

  #control(frame: ControlFrame): void {
    if (frame.kind === 'SYN_REPLY') this.#replied();
    else if (frame.kind === 'PING') this.#socket.write(encodePing(frame.id));
  }

  #data(id: number, piece: Buffer): void {
    const type = this.#types[(id - 1) / 2];
    if (type === 'stdout') this.#listener.stdout(piece);
    else if (type === 'stderr') this.#listener.stderr(piece);
    else if (type === 'error') this.#takeStatus(piece);
  }

  /** Go's clients close the connection when they have the status and every output has ended; the outputs precede it here. */
  #takeStatus(piece: Buffer): void {
    this.#status += piece.toString();
    if (this.#status.endsWith('}')) this.#socket.end();
  }

  #outcome(): Error | undefined {
    return this.#status.includes('"status":"Success"') ? undefined : new Error(`the status is: ${this.#status}`);
  }
}

/** In the order in which client-go opens them. */
function streamsOf({ stdin, tty }: AskedExec): StreamType[] {
  return ['error', ...(stdin ? (['stdin'] as const) : []), 'stdout', tty ? 'resize' : 'stderr'];
}

function idOf(index: number): number {
  return 2 * index + 1;
}

function synStream(id: number, block: Buffer): Buffer {
  const frame = Buffer.alloc(18);
  frame.writeUInt16BE(0x8003, 0);
  frame.writeUInt16BE(FRAME_TYPE.SYN_STREAM, 2);
  frame.writeUInt32BE(10 + block.length, 4);
  frame.writeUInt32BE(id, 8);
  return Buffer.concat([frame, block]);
}

/** One zlib stream, flushed behind each block. */
async function deflateBlocks(types: readonly StreamType[]): Promise<readonly Buffer[]> {
  const deflate = createDeflate({ level: 9, dictionary: HEADER_DICTIONARY });
  const blocks: Buffer[] = [];
  for (const type of types) blocks.push(await deflateBlock(deflate, type));
  deflate.close();
  return blocks;
}

async function deflateBlock(deflate: Deflate, type: StreamType): Promise<Buffer> {
  const texts = ['streamtype', type].map(text => Buffer.concat([uint32(text.length), Buffer.from(text)]));
  deflate.write(Buffer.concat([uint32(1), ...texts]));
  await new Promise<void>(resolve => deflate.flush(constants.Z_SYNC_FLUSH, () => resolve()));
  return deflate.read() as Buffer;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
