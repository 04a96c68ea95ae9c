import { dialSpdy, type ClientStream, type SpdyClient } from './spdy-client.ts';
import { SlowReader } from './slow-reader.ts';
import { execTarget, type AskedExec, type ExecServer, type Wire, type WireExec } from './wire.ts';
import type { WireResult } from './wire.ts';

/** Every version that the kubelet's server speaks over SPDY. */
export const SPDY_WIRES: readonly Wire[] = [
  spdyWire('v4.channel.k8s.io', { statusAsJson: true, resizes: true }),
  spdyWire('v3.channel.k8s.io', { statusAsJson: false, resizes: true }),
  spdyWire('v2.channel.k8s.io', { statusAsJson: false, resizes: false }),
  spdyWire('channel.k8s.io', { statusAsJson: false, resizes: false }),
];

function spdyWire(protocol: string, capabilities: { statusAsJson: boolean; resizes: boolean }): Wire {
  const wire = { ...capabilities, name: `SPDY ${protocol}`, protocol, transport: 'spdy', inputEnds: true } as const;
  return { ...wire, open: async (server, asked) => SpdyExec.open(wire, server, asked) };
}

type StreamType = 'error' | 'stdin' | 'stdout' | 'stderr' | 'resize';

/** An exec as client-go does it: one stream after the other, each opened when the last one has been answered. */
class SpdyExec implements WireExec {
  readonly #client: SpdyClient;
  readonly #reset: () => void;
  readonly #streams: ReadonlyMap<StreamType, ClientStream>;
  #sent: Promise<void> = Promise.resolve();

  private constructor(client: SpdyClient, reset: () => void, streams: ReadonlyMap<StreamType, ClientStream>) {
    this.#client = client;
    this.#reset = reset;
    this.#streams = streams;
  }

  static async open(
    { protocol, resizes }: { protocol: string; resizes: boolean },
    server: ExecServer,
    asked: AskedExec,
  ): Promise<SpdyExec> {
    const upgrade = await dialSpdy({ ...server, path: execTarget(server, asked), protocols: [protocol] });
    const { client } = upgrade;
    if (client === undefined) throw new Error(`${upgrade.status} ${upgrade.body}`);
    const chosen = upgrade.header('x-stream-protocol-version');
    if (chosen !== protocol) throw new Error(`asked for ${protocol}, got ${chosen ?? 'no version'}`);
    if (asked.readBytesPerSecond !== undefined) {
      const reader = new SlowReader(asked.readBytesPerSecond, client);
      client.socket.on('data', (chunk: Buffer) => reader.took(chunk.length));
    }
    const types: StreamType[] = ['error', ...asked.streams.filter(name => !(asked.tty && name === 'stderr'))];
    if (asked.tty && resizes) types.push('resize');
    const streams = new Map<StreamType, ClientStream>();
    for (const type of types) streams.set(type, await client.open({ streamtype: type }));
    return new SpdyExec(client, upgrade.reset, streams);
  }

  async send(input: Buffer | string, chunkBytes?: number): Promise<void> {
    this.#sent = this.#stream('stdin').write(input, chunkBytes);
    await this.#sent;
  }

  async endInput(): Promise<void> {
    this.#stream('stdin').end();
    return Promise.resolve();
  }

  async resize({ width, height }: { width: number; height: number }): Promise<void> {
    await this.#stream('resize').write(`${JSON.stringify({ Width: width, Height: height })}\n`);
  }

  async ping(): Promise<boolean> {
    return this.#client.ping();
  }

  async sendStray(): Promise<void> {
    const stray = await this.#client.openUnanswered({ streamtype: 'nonsense' }); // refused or not: it is not to be missed
    await stray.write('nonsense');
    stray.end();
  }

  async receives(wanted: number | string): Promise<Buffer> {
    const stdout = this.#stream('stdout');
    if (typeof wanted === 'number') await stdout.receivedBytes(wanted);
    else await this.#client.until(() => stdout.over || stdout.received.includes(wanted));
    const { received } = stdout;
    if (typeof wanted === 'number' ? received.length < wanted : !received.includes(wanted)) {
      throw new Error(`stdout ended without ${wanted}: ${received.toString('latin1', 0, 500)}`);
    }
    return received;
  }

  async end(): Promise<WireResult> {
    const awaited = (['stdout', 'stderr', 'error'] as const).filter(type => this.#streams.has(type));
    for (const type of awaited) await this.#stream(type).ended();
    await this.#sent; // the peer reads on, or this never resolves
    const faults = this.#faults(awaited);
    for (const stream of this.#streams.values()) stream.reset();
    this.#client.goAway();
    this.#client.end();
    await this.#client.closed;
    this.#client.destroy();
    return {
      stdout: this.#streams.get('stdout')?.received ?? Buffer.alloc(0),
      stderr: this.#streams.get('stderr')?.received ?? Buffer.alloc(0),
      status: this.#stream('error').received.toString(),
      faults,
    };
  }

  leave(how: 'reset' | 'goodbye'): void {
    if (how === 'reset') {
      this.#reset();
      return;
    }
    for (const stream of this.#streams.values()) stream.reset();
    this.#client.goAway();
    this.#client.end();
  }

  #faults(awaited: readonly StreamType[]): string[] {
    const faults: string[] = [];
    for (const type of awaited) {
      const { finished, resetStatus } = this.#stream(type);
      if (!finished && resetStatus === undefined) faults.push(`${type} was ended by the end of the connection only`);
    }
    const { frames } = this.#client;
    if (frames.some(frame => frame.kind === 'SYN_REPLY' && !frame.block.equals(Buffer.alloc(4)))) {
      faults.push('a SYN_REPLY has headers');
    }
    if (frames.some(frame => frame.kind === 'GOAWAY')) faults.push('GOAWAY before the client was content');
    // Only what carries bytes: the ends of the streams may come in any order.
    const data = frames.flatMap(frame => (frame.kind === 'DATA' && frame.payload.length > 0 ? [frame.id] : []));
    const error = this.#stream('error').id;
    const outputs = ['stdout', 'stderr'] as const;
    const known = [error, ...outputs.flatMap(name => this.#streams.get(name)?.id ?? [])];
    const firstOfStatus = data.indexOf(error);
    if (firstOfStatus >= 0 && data.slice(firstOfStatus).some(id => id !== error))
      faults.push('output after the status');
    if (data.some(id => !known.includes(id))) faults.push('data on a stream that is no output');
    return faults;
  }

  #stream(type: StreamType): ClientStream {
    const stream = this.#streams.get(type);
    if (stream === undefined) throw new Error(`the ${type} stream was not asked for`);
    return stream;
  }
}
