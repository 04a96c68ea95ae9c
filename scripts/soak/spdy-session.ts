import { dialSpdy, type ClientStream } from '../../test/support/spdy-client.ts';
import { execPath, inputChunks, leave, ReaderPace, receivedFor, type Observed } from './observed.ts';
import type { Input, SessionPlan } from './session-plan.ts';

/** Plays a session as client-go does, up to where the plan has it leave. */
export async function playOverSpdy(plan: SessionPlan, port: number): Promise<Observed> {
  const { protocol, stdin: input, reset, size } = plan;
  const outputs = receivedFor(plan);
  const upgrade = await dialSpdy({ port, path: execPath(plan), protocols: plan.offered });
  const { client } = upgrade;
  const chosen = upgrade.header('x-stream-protocol-version') ?? '';
  if (client === undefined) {
    return {
      ...outputs,
      refused: upgrade.status,
      left: false,
      protocol: chosen,
      errorStream: '',
      flaws: [],
      sentBytes: 0,
    };
  }
  const pace = new ReaderPace(client, plan.reader);
  client.socket.on('data', (chunk: Buffer) => pace.took(chunk.length));

  /** `over`: all that is waited for has ended, and nobody reads input any more. */
  const seen: { left: boolean; over: boolean } = { left: false, over: false };
  let sentBytes = 0;
  const flaws: string[] = [];
  const depart = (): void => {
    if (reset === undefined || seen.left) return;
    seen.left = true;
    leave(client.socket, reset);
  };
  const observed = (errorStream = ''): Observed => ({
    ...outputs,
    left: seen.left,
    protocol: chosen,
    errorStream,
    flaws,
    sentBytes,
  });
  let opened = 0;
  const open = async (streamtype: string, onData?: (data: Buffer) => void): Promise<ClientStream> => {
    const stream = await client.open({ streamtype }, { onData });
    opened += 1;
    if (reset?.point === 'between streams' && opened === reset.after) depart();
    return stream;
  };
  const firstOutput = Promise.withResolvers<undefined>();
  const takeStdout = (data: Buffer): void => {
    outputs.stdout.take(data);
    firstOutput.resolve(undefined);
    if (reset?.point === 'mid-output' && outputs.stdout.bytes >= reset.after) depart();
  };
  const send = async (stream: ClientStream, toSend: Input): Promise<void> => {
    if (toSend.afterOutput) await Promise.race([firstOutput.promise, client.closed]);
    for await (const chunk of inputChunks(toSend, () => stream.over || seen.over || seen.left)) {
      await stream.write(chunk);
      sentBytes += chunk.length;
      if (reset?.point === 'mid-input' && sentBytes >= reset.after) {
        depart();
        return;
      }
    }
    if (!seen.left && !seen.over) stream.end();
  };

  try {
    if (reset?.point === 'after the 101') {
      depart();
      return observed();
    }
    const error = await open('error');
    const stdin = input && (await open('stdin'));
    const stdout = await open('stdout', takeStdout);
    const stderr = plan.stderr && !plan.tty ? await open('stderr', data => outputs.stderr.take(data)) : undefined;
    const resize = plan.tty && protocol.resizes ? await open('resize') : undefined;
    if (size !== undefined) await resize?.write(`${JSON.stringify({ Width: size.width, Height: size.height })}\n`);
    // A write that fails is the connection's end, and the streams tell of it.
    const sent = stdin && send(stdin, input).catch(() => undefined);
    const awaited = { error, stdout, ...(stderr && { stderr }) };
    await Promise.all(Object.values(awaited).map(stream => stream.ended()));
    seen.over = true;
    if (!seen.left) {
      for (const [name, { finished }] of Object.entries(awaited)) {
        if (!finished) flaws.push(`${name} was cut off, not ended`);
      }
      for (const stream of [error, stdin, stdout, stderr, resize]) stream?.reset();
      client.goAway();
      client.end();
      await client.closed;
    }
    await sent;
    return observed(error.received.toString());
  } catch (cause) {
    if (!seen.left) throw cause;
    return observed();
  } finally {
    pace.stop();
    client.destroy();
  }
}
