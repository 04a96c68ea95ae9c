import { z } from 'zod';
import type { Endpoint } from './dial.ts';

/** What a transport with one version of its subprotocol can do: rows of the conformance table choose their wires by it. */
export interface WireCapabilities {
  readonly transport: 'spdy' | 'websocket';
  /** The client can end its input and still read the output: by FIN over SPDY, by CLOSE in WebSocket v5. */
  readonly inputEnds: boolean;
  /** The status is JSON, on success too; else it is text, on failure only. */
  readonly statusAsJson: boolean;
  /** A terminal's size can be sent. */
  readonly resizes: boolean;
}

/** One transport with one version of its subprotocol. */
export interface Wire extends WireCapabilities {
  /** For titles. */
  readonly name: string;
  /** As it is named on the wire. */
  readonly protocol: string;
  /** Asks for the command and resolves when input may be sent. @throws {Error} when the upgrade is refused */
  open(server: ExecServer, asked: AskedExec): Promise<WireExec>;
}

/** Where a daemon listens, or what stands in front of it. */
export interface ExecServer extends Endpoint {
  /** The kubelet's form of the path, or the API server's. */
  readonly form: 'kubelet' | 'api';
}

export type StreamName = 'stdin' | 'stdout' | 'stderr';
export type OutputName = Exclude<StreamName, 'stdin'>;

/** An exec as it is asked for, in the container `app` of the pod `default/web`. */
export interface AskedExec {
  readonly command: readonly string[];
  readonly streams: readonly StreamName[];
  readonly tty: boolean;
  /** Reads no faster than that. */
  readonly readBytesPerSecond?: number;
}

/** The client's side of one exec that is under way. */
export interface WireExec {
  /** Sends input in frames or messages of that size, 32 KiB unless given. Resolves when it is sent, or all is over. */
  send(input: Buffer | string, chunkBytes?: number): Promise<void>;
  /** Half-closes the input. Only where `inputEnds`. */
  endInput(): Promise<void>;
  /** Only with a terminal, where `resizes`. */
  resize(size: { readonly width: number; readonly height: number }): Promise<void>;
  /** Asks whether the peer lives, by the transport's own means. False when the connection ends before the answer. */
  ping(): Promise<boolean>;
  /** Sends what no server has a use for: unknown streams or channels, empty messages. */
  sendStray(): Promise<void>;
  /** Waits for that many bytes of stdout, or until it contains the text, and returns it. @throws when the session ends before */
  receives(wanted: number | string): Promise<Buffer>;
  /** Waits for the end of the session and closes as a client does that is content. */
  end(): Promise<WireResult>;
  /** Goes away in the middle: with a TCP RST, or saying goodbye as the transport has it. */
  leave(how: 'reset' | 'goodbye'): void;
}

/** What had arrived when the session was over. */
export interface WireResult {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  /** The whole error stream. */
  readonly status: string;
  /** Whatever is not as the transport has it, in words; empty when all is well. */
  readonly faults: readonly string[];
}

/** The request target of an exec. */
export function execTarget({ form }: ExecServer, { command, streams, tty }: AskedExec): string {
  const query = new URLSearchParams(command.map((argument): [string, string] => ['command', argument]));
  const kubeletNames = { stdin: 'input', stdout: 'output', stderr: 'error' };
  for (const stream of streams) {
    if (form === 'kubelet') query.append(kubeletNames[stream], '1');
    else query.append(stream, 'true');
  }
  if (tty) query.append('tty', form === 'kubelet' ? '1' : 'true');
  return form === 'kubelet'
    ? `/exec/default/web/app?${query.toString()}`
    : `/api/v1/namespaces/default/pods/web/exec?container=app&${query.toString()}`;
}

/** What a client makes of the error stream: an exit code, or a failure with its message. */
export type ClientOutcome = { readonly exitCode: number } | { readonly failure: string };

const exitCause = z.looseObject({ reason: z.string().optional(), message: z.string().optional() });
const failureStatus = z.looseObject({
  status: z.literal('Failure'),
  message: z.string(),
  reason: z.string(),
  details: z.looseObject({ causes: z.array(exitCause) }).optional(),
});
const clientStatus = z.discriminatedUnion('status', [z.looseObject({ status: z.literal('Success') }), failureStatus]);

/**
 * Decodes the error stream as client-go does, but for one thing: where it takes silence for success although the version
 * sends a Status on success too, this throws.
 */
export function clientOutcome(status: string, { statusAsJson }: Pick<WireCapabilities, 'statusAsJson'>): ClientOutcome {
  if (!statusAsJson) {
    if (status === '') return { exitCode: 0 };
    const exitCode = /^command terminated with non-zero exit code: exit status (\d+)$/.exec(status)?.[1];
    return exitCode === undefined ? { failure: status } : { exitCode: Number(exitCode) };
  }
  const parsed = clientStatus.parse(JSON.parse(status));
  if (parsed.status === 'Success') return { exitCode: 0 };
  if (parsed.reason !== 'NonZeroExitCode') return { failure: parsed.message };
  const text = parsed.details?.causes.find(({ reason }) => reason === 'ExitCode')?.message ?? '';
  const exitCode = Number(text);
  if (!/^\d+$/.test(text) || exitCode < 1 || exitCode > 255) throw new Error(`exit code "${text}" in a failure`);
  return { exitCode };
}
