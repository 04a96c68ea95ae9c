import { once } from 'node:events';
import { Readable } from 'node:stream';
import { WebSocket } from 'ws';

export interface WebSocketExec {
  /** The subprotocol of the answer; empty where there was none. */
  readonly protocol: string;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  /** What channel 3 carried. */
  readonly status: string;
  readonly closeCode: number;
  /** Channel and length of every message, in order. */
  readonly messages: readonly { readonly channel: number; readonly bytes: number }[];
}

export interface WebSocketExecOptions {
  readonly url: string;
  /** The subprotocols to offer; none at all for the empty list. */
  readonly protocols: readonly string[];
  /** A readable is sent as it comes, without regard to the server's pace. */
  readonly stdin?: Buffer | Readable;
  readonly sizes?: readonly { readonly Width: number; readonly Height: number }[];
}

/**
 * A raw WebSocket client that speaks the channel protocol by itself, so that the tests share none of the daemon's code.
 *
 * Input is closed by CLOSE where the subprotocol has it; a message is split no further than the caller split it.
 */
export async function execOverWebSocket({
  url,
  protocols,
  stdin,
  sizes = [],
}: WebSocketExecOptions): Promise<WebSocketExec> {
  const client = new WebSocket(url, [...protocols], { perMessageDeflate: false });
  const outputs = new Map<number, Buffer[]>();
  const messages: { channel: number; bytes: number }[] = [];
  const closed = once(client, 'close') as Promise<[number, Buffer]>;
  closed.catch(() => undefined); // an upgrade that is refused rejects `open` below, and this with it
  client.on('message', (data: Buffer, isBinary: boolean) => {
    const base64 = client.protocol.includes('base64');
    if (isBinary === base64)
      throw new Error(`${client.protocol} answered with a ${isBinary ? 'binary' : 'text'} message`);
    const channel = base64 ? Number(data.toString('latin1', 0, 1)) : (data[0] ?? NaN);
    const payload = base64 ? Buffer.from(data.toString('latin1', 1), 'base64') : data.subarray(1);
    messages.push({ channel, bytes: payload.length });
    const output = outputs.get(channel) ?? [];
    output.push(payload);
    outputs.set(channel, output);
  });
  await once(client, 'open');
  const send = (channel: number, payload: Buffer): void => {
    if (client.protocol.includes('base64')) client.send(`${channel}${payload.toString('base64')}`);
    else client.send(Buffer.concat([Buffer.from([channel]), payload]));
  };
  for (const size of sizes) send(4, Buffer.from(JSON.stringify(size)));
  const end = (): void => {
    if (client.protocol === 'v5.channel.k8s.io') client.send(Buffer.from([255, 0]));
  };
  if (stdin instanceof Readable) stdin.on('data', (chunk: Buffer) => send(0, chunk)).on('end', end);
  else if (stdin !== undefined) {
    for (let at = 0; at < stdin.length; at += 32_768) send(0, stdin.subarray(at, at + 32_768));
    end();
  }
  const [closeCode] = await closed;
  if (stdin instanceof Readable) stdin.destroy();
  const output = (channel: number): Buffer => Buffer.concat(outputs.get(channel) ?? []);
  return {
    protocol: client.protocol,
    stdout: output(1),
    stderr: output(2),
    status: output(3).toString(),
    closeCode,
    messages,
  };
}
