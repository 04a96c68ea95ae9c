import type { Readable } from 'node:stream';
import { execOverSpdy } from './spdy-client.ts';
import { execOverWebSocket } from './websocket-client.ts';

export const TRANSPORTS = ['spdy', 'websocket'] as const;
export type Transport = (typeof TRANSPORTS)[number];

export interface RawExecOptions {
  readonly port: number;
  readonly command: readonly string[];
  /** Opens no stderr then. */
  readonly tty?: boolean;
  /** A readable is sent as it comes. */
  readonly stdin?: Buffer | Readable;
  /** The newest of the transport unless given. */
  readonly protocol?: string;
}

/** What arrived, whichever the transport. */
export interface RawExec {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly status: string;
  /** How many messages or frames with content came on the error stream. */
  readonly statuses: number;
  /** Every stream was ended, or the connection closed, as the protocol has it. */
  readonly complete: boolean;
}

/** Runs a command in `default/web/app` with a raw client in this process, all its outputs asked for. */
export async function rawExec(transport: Transport, options: RawExecOptions): Promise<RawExec> {
  const {
    port,
    tty = false,
    stdin,
    protocol = transport === 'spdy' ? 'v4.channel.k8s.io' : 'v5.channel.k8s.io',
  } = options;
  const path = execPath({ ...options, tty, input: stdin !== undefined });
  const protocols = [protocol];
  if (transport === 'spdy') {
    const result = await execOverSpdy({ port, path, protocols, tty, ...(stdin !== undefined && { stdin }) });
    const { stdout, stderr, errorStream: status, complete, frames } = result;
    // The client opens the error stream first, so it is the stream 1.
    const statuses = frames.filter(frame => frame.kind === 'DATA' && frame.id === 1 && frame.payload.length > 0).length;
    return { stdout, stderr, status, statuses, complete };
  }
  const url = `ws://127.0.0.1:${port}${path}`;
  const result = await execOverWebSocket({ url, protocols, ...(stdin !== undefined && { stdin }) });
  const { stdout, stderr, status, messages, closeCode } = result;
  const statuses = messages.filter(({ channel, payload }) => channel === 3 && payload.length > 0).length;
  return { stdout, stderr, status, statuses, complete: closeCode === 1000 };
}

/** The kubelet's path of an exec in `default/web/app`. */
export function execPath(options: { command: readonly string[]; tty: boolean; input: boolean }): string {
  const command = options.command.map(argument => `command=${encodeURIComponent(argument)}`).join('&');
  return `/exec/default/web/app?${command}${options.input ? '&input=1' : ''}&output=1${options.tty ? '&tty=1' : '&error=1'}`;
}
