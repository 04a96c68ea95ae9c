import type { Socket } from 'node:net';
import { WebSocket } from 'ws';
import { execPath, inputChunks, leave, ReaderPace, receivedFor, type Observed } from './observed.ts';
import type { Input, SessionPlan } from './session-plan.ts';

const CLOSE_STDIN = Buffer.from([255, 0]);
const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4 } as const;

/** What the listeners of one connection have seen. */
interface Seen {
  refused: number | undefined;
  failure: Error | undefined;
  /** The connection's own, once it is upgraded. */
  socket: Socket | undefined;
  left: boolean;
  /** Messages on the error channel. */
  statuses: number;
}

/** Plays a session over WebSocket, up to where the plan has it leave. */
export async function playOverWebSocket(plan: SessionPlan, port: number): Promise<Observed> {
  const { protocol, stdin: input, reset, size } = plan;
  const outputs = receivedFor(plan);
  const base64 = protocol.name.includes('base64');
  const client = new WebSocket(`ws://127.0.0.1:${port}${execPath(plan)}`, [...plan.offered], {
    perMessageDeflate: false,
  });
  const seen: Seen = { refused: undefined, failure: undefined, socket: undefined, left: false, statuses: 0 };
  let pace: ReaderPace | undefined;
  let errorStream = '';
  let sentBytes = 0;
  const flaws: string[] = [];
  const depart = (): void => {
    if (reset === undefined || seen.socket === undefined || seen.left) return;
    seen.left = true;
    leave(seen.socket, reset);
  };
  const firstOutput = Promise.withResolvers<undefined>();
  const over = Promise.withResolvers<undefined>();
  const send = (channel: number, payload: Buffer): Promise<void> => {
    const message = base64
      ? `${channel}${payload.toString('base64')}`
      : Buffer.concat([Buffer.from([channel]), payload]);
    return new Promise(resolve => client.send(message, () => resolve())); // a failure is an end, which 'close' tells of
  };
  const sendInput = async (toSend: Input): Promise<void> => {
    if (toSend.afterOutput) await Promise.race([firstOutput.promise, over.promise]);
    for await (const chunk of inputChunks(toSend, () => client.readyState !== WebSocket.OPEN || seen.left)) {
      await send(CHANNEL.stdin, chunk);
      sentBytes += chunk.length;
      if (reset?.point === 'mid-input' && sentBytes >= reset.after) {
        depart();
        return;
      }
    }
    if (protocol.endsInput && client.readyState === WebSocket.OPEN) client.send(CLOSE_STDIN);
  };
  const receive = (data: Buffer, isBinary: boolean): void => {
    if (isBinary === base64) flaws.push(`a ${isBinary ? 'binary' : 'text'} message`);
    const channel = base64 ? Number(data.toString('latin1', 0, 1)) : (data[0] ?? NaN);
    const payload = base64 ? Buffer.from(data.toString('latin1', 1), 'base64') : data.subarray(1);
    if (channel === CHANNEL.error) {
      seen.statuses += 1;
      errorStream += payload.toString();
      return;
    }
    if (seen.statuses > 0) flaws.push(`${payload.length} bytes on channel ${channel} after the status`);
    if (channel === CHANNEL.stdout) outputs.stdout.take(payload);
    else if (channel === CHANNEL.stderr) outputs.stderr.take(payload);
    else flaws.push(`a message on channel ${channel}`);
    if (payload.length > 0) firstOutput.resolve(undefined);
    if (reset?.point === 'mid-output' && outputs.stdout.bytes >= reset.after) depart();
  };

  client.on('upgrade', ({ socket: upgraded }) => {
    seen.socket = upgraded; // and no listener yet: it would take what came with the 101 from ws
  });
  client.on('unexpected-response', (request, response) => {
    seen.refused = response.statusCode ?? 0;
    request.destroy();
    over.resolve(undefined);
  });
  client.on('error', cause => {
    seen.failure = cause;
  });
  client.on('close', code => {
    if (seen.failure !== undefined && seen.socket !== undefined && !seen.left) flaws.push(seen.failure.message);
    if (!seen.left && code !== 1000) flaws.push(`close code ${code}`);
    over.resolve(undefined);
  });
  client.on('message', receive);
  let sent = Promise.resolve();
  client.on('open', () => {
    const started = new ReaderPace(client, plan.reader);
    pace = started;
    seen.socket?.on('data', (chunk: Buffer) => started.took(chunk.length));
    if (reset?.point === 'after the 101') {
      depart();
      return;
    }
    if (size !== undefined) {
      void send(CHANNEL.resize, Buffer.from(JSON.stringify({ Width: size.width, Height: size.height })));
    }
    if (input !== undefined) sent = sendInput(input);
  });
  try {
    await over.promise;
    await sent;
  } finally {
    pace?.stop();
    if (seen.refused === undefined) client.terminate();
  }
  if (seen.failure !== undefined && seen.socket === undefined && seen.refused === undefined) throw seen.failure;
  if (!seen.left && seen.refused === undefined && seen.statuses !== 1)
    flaws.push(`${seen.statuses} messages on the error channel`);
  return {
    ...outputs,
    ...(seen.refused !== undefined && { refused: seen.refused }),
    left: seen.left,
    protocol: client.protocol,
    errorStream,
    flaws,
    sentBytes,
  };
}
