import { WebSocketClient } from './websocket-client.ts';
import { execTarget, type AskedExec, type ExecServer, type Wire, type WireExec } from './wire.ts';
import type { OutputName, WireResult } from './wire.ts';

/** Every subprotocol that a node speaks over WebSocket. */
export const WEBSOCKET_WIRES: readonly Wire[] = [
  webSocketWire('v5.channel.k8s.io', { statusAsJson: true, inputEnds: true }),
  webSocketWire('v4.channel.k8s.io', { statusAsJson: true, inputEnds: false }),
  webSocketWire('v4.base64.channel.k8s.io', { statusAsJson: true, inputEnds: false }),
  webSocketWire('channel.k8s.io', { statusAsJson: false, inputEnds: false }),
  webSocketWire('base64.channel.k8s.io', { statusAsJson: false, inputEnds: false }),
  webSocketWire('', { statusAsJson: false, inputEnds: false }),
];

function webSocketWire(protocol: string, capabilities: { statusAsJson: boolean; inputEnds: boolean }): Wire {
  const wire = {
    ...capabilities,
    name: `WebSocket ${protocol === '' ? 'without a subprotocol' : protocol}`,
    protocol,
    transport: 'websocket',
    resizes: true,
  } as const;
  return { ...wire, open: async (server, asked) => WebSocketExec.open(wire, server, asked) };
}

const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4 } as const;

class WebSocketExec implements WireExec {
  readonly #client: WebSocketClient;
  readonly #asked: AskedExec;
  readonly #closeSignal: boolean;
  #pings = 0;

  private constructor(client: WebSocketClient, asked: AskedExec, closeSignal: boolean) {
    this.#client = client;
    this.#asked = asked;
    this.#closeSignal = closeSignal;
  }

  static async open(
    { protocol, inputEnds }: { protocol: string; inputEnds: boolean },
    server: ExecServer,
    asked: AskedExec,
  ): Promise<WebSocketExec> {
    const { port, host = '127.0.0.1', ca, certificate } = server;
    const client = await WebSocketClient.open({
      url: `${ca === undefined ? 'ws' : 'wss'}://${host}:${port}${execTarget(server, asked)}`,
      protocols: protocol === '' ? [] : [protocol],
      readBytesPerSecond: asked.readBytesPerSecond,
      ...(ca !== undefined && { ca }),
      certificate,
    });
    if (client.protocol !== protocol) throw new Error(`asked for "${protocol}", got "${client.protocol}"`);
    return new WebSocketExec(client, asked, inputEnds);
  }

  async send(input: Buffer | string, chunkBytes = 32_768): Promise<void> {
    const bytes = Buffer.from(input);
    for (let at = 0; at < bytes.length; at += chunkBytes) {
      await this.#client.send(CHANNEL.stdin, bytes.subarray(at, at + chunkBytes));
    }
  }

  async endInput(): Promise<void> {
    if (!this.#closeSignal) throw new Error(`${this.#client.protocol} knows no end of input`);
    await this.#client.closeChannel(CHANNEL.stdin);
  }

  async resize({ width, height }: { width: number; height: number }): Promise<void> {
    await this.#client.send(CHANNEL.resize, Buffer.from(JSON.stringify({ Width: width, Height: height })));
  }

  async ping(): Promise<boolean> {
    this.#pings += 1;
    return this.#client.ping(`ping ${this.#pings}`);
  }

  async sendStray(): Promise<void> {
    await this.#client.raw(Buffer.alloc(0));
    await this.#client.send(9, Buffer.from('nonsense'));
    // Before v5 a CLOSE signal is a message on a channel that nobody serves.
    if (!this.#closeSignal) await this.#client.closeChannel(CHANNEL.stdin);
  }

  async receives(wanted: number | string): Promise<Buffer> {
    const there = (): boolean =>
      typeof wanted === 'number'
        ? this.#client.receivedBytes(CHANNEL.stdout) >= wanted
        : this.#client.received(CHANNEL.stdout).includes(wanted);
    await this.#client.until(there);
    const received = this.#client.received(CHANNEL.stdout);
    if (!there()) throw new Error(`stdout ended without ${wanted}: ${received.toString('latin1', 0, 500)}`);
    return received;
  }

  async end(): Promise<WireResult> {
    const closeCode = await this.#client.closed;
    return {
      stdout: this.#client.received(CHANNEL.stdout),
      stderr: this.#client.received(CHANNEL.stderr),
      status: this.#client.received(CHANNEL.error).toString(),
      faults: this.#faults(closeCode),
    };
  }

  leave(how: 'reset' | 'goodbye'): void {
    if (how === 'reset') this.#client.reset();
    else this.#client.close();
  }

  #faults(closeCode: number): string[] {
    const { streams, tty } = this.#asked;
    const outputs = (['stdout', 'stderr'] as const).filter(
      name => streams.includes(name) && !(tty && name === 'stderr'),
    );
    const faults = [...this.#client.malformed];
    if (closeCode !== 1000) faults.push(`close code ${closeCode}`);
    const { messages } = this.#client;
    const lowest = CHANNEL[outputs[0] ?? 'error'];
    if (messages[0]?.channel !== lowest || messages[0].payload.length > 0) {
      faults.push(`the first message is not an empty one on channel ${lowest}`);
    }
    const known: number[] = [CHANNEL.error, ...outputs.map((name: OutputName) => CHANNEL[name])];
    const carrying = messages.filter(({ payload }) => payload.length > 0);
    if (carrying.some(({ channel }) => !known.includes(channel)))
      faults.push('a message on a channel that is no output');
    const firstOfStatus = carrying.findIndex(({ channel }) => channel === CHANNEL.error);
    if (firstOfStatus >= 0 && carrying.slice(firstOfStatus).some(({ channel }) => channel !== CHANNEL.error)) {
      faults.push('output after the status');
    }
    return faults;
  }
}
