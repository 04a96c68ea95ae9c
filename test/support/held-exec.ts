import { dialSpdy } from './spdy-client.ts';
import type { Transport } from './raw-exec.ts';
import { WebSocketClient } from './websocket-client.ts';

export interface HeldExecOptions {
  readonly port: number;
  readonly pod?: string;
  readonly command: readonly string[];
  readonly tty: boolean;
}

/** A session that goes on until the test ends it. */
export interface HeldExec {
  send(input: string): Promise<void>;
  /** Waits until the command has written that, and answers all that it has written. Rejects where the session ends before. */
  until(output: string): Promise<string>;
  /** Leaves as a client does that crashes. */
  reset(): void;
}

/** Runs a command in the container `app` with a raw client in this process, with an open input. */
export async function holdExec(transport: Transport, options: HeldExecOptions): Promise<HeldExec> {
  const { port, pod = 'web', command, tty } = options;
  const words = command.map(word => `command=${encodeURIComponent(word)}`).join('&');
  const path = `/exec/default/${pod}/app?${words}&input=1&output=1${tty ? '&tty=1' : '&error=1'}`;
  return transport === 'spdy' ? overSpdy(port, path, tty) : overWebSocket(port, path);
}

async function overSpdy(port: number, path: string, tty: boolean): Promise<HeldExec> {
  const { client, status, body, reset } = await dialSpdy({ port, path, protocols: ['v4.channel.k8s.io'] });
  if (client === undefined) throw new Error(`${status} ${body}`);
  await client.open({ streamtype: 'error' });
  const stdin = await client.open({ streamtype: 'stdin' });
  const stdout = await client.open({ streamtype: 'stdout' });
  await client.open({ streamtype: tty ? 'resize' : 'stderr' });
  return {
    send: input => stdin.write(input),
    until: async output => {
      await client.until(() => stdout.received.includes(output) || stdout.over);
      return checked(stdout.received, output);
    },
    reset,
  };
}

async function overWebSocket(port: number, path: string): Promise<HeldExec> {
  const url = `ws://127.0.0.1:${port}${path}`;
  const client = await WebSocketClient.open({ url, protocols: ['v5.channel.k8s.io'] });
  return {
    send: input => client.send(0, Buffer.from(input)),
    until: async output => {
      await client.until(() => client.received(1).includes(output));
      return checked(client.received(1), output);
    },
    reset: client.reset,
  };
}

function checked(received: Buffer, output: string): string {
  if (received.includes(output)) return received.toString();
  throw new Error(`the session ended before ${JSON.stringify(output)}, with ${JSON.stringify(received.toString())}`);
}

/** A command that echoes what it is sent, to show that it lives on whatever happens around it. */
export class Echo {
  readonly #cat: HeldExec;
  #count = 0;

  private constructor(cat: HeldExec) {
    this.#cat = cat;
  }

  static async start(options: Pick<HeldExecOptions, 'port' | 'pod'>): Promise<Echo> {
    const echo = new Echo(await holdExec('websocket', { ...options, command: ['cat'], tty: false }));
    await echo.check();
    return echo;
  }

  /** Rejects where it does not live any more. */
  async check(): Promise<void> {
    const line = `still here ${(this.#count += 1)}\n`;
    await this.#cat.send(line);
    await this.#cat.until(line);
  }

  stop(): void {
    this.#cat.reset();
  }
}
