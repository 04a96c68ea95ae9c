import { once } from 'node:events';
import { Agent, request, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { json } from 'node:stream/consumers';
import { z } from 'zod';
import { StdcopyDemultiplexer } from '../../src/docker/stdcopy.ts';
import type { AskedExec, ExecClient, ExecListener, OpenExec } from './exec-client.ts';

const created = z.object({ Id: z.string() });
const inspected = z.object({ ExitCode: z.number().nullable() });

/** What `docker exec` does: create, start on a connection of its own, inspect for the exit code. */
export class EngineClient implements ExecClient {
  readonly #socketPath: string;
  readonly #containerId: string;
  readonly #agent = new Agent({ keepAlive: true });

  constructor({ socketPath, containerId }: { socketPath: string; containerId: string }) {
    this.#socketPath = socketPath;
    this.#containerId = containerId;
  }

  async open({ command, stdin, tty }: AskedExec, listener: ExecListener): Promise<OpenExec> {
    const { Id } = created.parse(
      await this.#call('POST', `/containers/${this.#containerId}/exec`, {
        Cmd: command,
        Tty: tty,
        AttachStdin: stdin,
        AttachStdout: true,
        AttachStderr: true,
      }),
    );
    const socket = await this.#start(Id, tty);
    const demultiplexer = new StdcopyDemultiplexer((stream, slice) => listener[stream](slice));
    socket.on('data', (chunk: Buffer) => (tty ? listener.stdout(chunk) : demultiplexer.push(chunk)));
    socket.on('drain', () => listener.drained());
    socket.once('end', () => {
      socket.destroy();
      this.#exitCode(Id).then(
        exitCode => listener.ended(exitCode === 0 ? undefined : new Error(`exit code ${String(exitCode)}`)),
        (cause: unknown) => listener.ended(cause as Error),
      );
    });
    return { write: chunk => socket.write(chunk), close: () => socket.destroy() };
  }

  close(): void {
    this.#agent.destroy();
  }

  async #start(id: string, tty: boolean): Promise<Socket> {
    const body = JSON.stringify({ Detach: false, Tty: tty });
    const start = request({
      socketPath: this.#socketPath,
      method: 'POST',
      path: `/exec/${id}/start`,
      headers: { ...bodyHeaders(body), Connection: 'Upgrade', Upgrade: 'tcp' },
    });
    start.end(body);
    const [, socket, head] = (await once(start, 'upgrade')) as [IncomingMessage, Socket, Buffer];
    if (head.length > 0) socket.unshift(head);
    return socket;
  }

  async #exitCode(id: string): Promise<number | null> {
    return inspected.parse(await this.#call('GET', `/exec/${id}/json`)).ExitCode;
  }

  async #call(method: string, path: string, body?: unknown): Promise<unknown> {
    const text = body === undefined ? '' : JSON.stringify(body);
    const call = request({
      socketPath: this.#socketPath,
      agent: this.#agent,
      method,
      path,
      headers: text === '' ? {} : bodyHeaders(text),
    });
    call.end(text);
    const [response] = (await once(call, 'response')) as [IncomingMessage];
    return json(response);
  }
}

function bodyHeaders(body: string): Record<string, string | number> {
  return { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) };
}
