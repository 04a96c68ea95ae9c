import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import type { Duplex } from 'node:stream';

const CONTAINER_ID = 'c'.repeat(64);
const EXEC_ID = 'e'.repeat(64);

/** What the Engine says of its one exec. */
export interface ExecInspection {
  readonly Running: boolean;
  readonly ExitCode: number | null;
  readonly Pid: number;
}

export interface StandInOptions {
  readonly apiVersion?: string;
  /** Plays the exec once it has been started: writes frames on the hijacked connection, ends it, sends events. */
  readonly play: (connection: Duplex, engine: StandInEngine) => void;
  /** Answers the start without an upgrade, as a proxy in front of the socket does. */
  readonly withoutUpgrade?: boolean;
  readonly inspect?: () => ExecInspection;
  /** The pids of the container's processes; without it the Engine cannot tell. */
  readonly top?: () => readonly number[];
}

/**
 * An Engine that serves faults a real one cannot be made to show: one container (`default/web/app`), one exec at a time,
 * played by the test. It speaks version, containers, events and the exec calls, and nothing else.
 */
export class StandInEngine {
  readonly dockerHost: string;
  /** Path and body of every call but the events, in order. */
  readonly calls: { readonly path: string; readonly body: unknown }[] = [];
  readonly #options: StandInOptions;
  readonly #directory: string;
  readonly #server = createServer((request, response) => void this.#answer(request, response));
  readonly #events = new Set<ServerResponse>();

  private constructor(options: StandInOptions, directory: string) {
    this.#options = options;
    this.#directory = directory;
    this.dockerHost = `unix://${join(directory, 'docker.sock')}`;
    if (options.withoutUpgrade === true) return;
    this.#server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      this.calls.push({ path: request.url ?? '', body: JSON.parse(head.toString()) });
      socket.on('error', () => undefined);
      socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n');
      options.play(socket, this);
    });
  }

  static async start(options: StandInOptions): Promise<StandInEngine> {
    const engine = new StandInEngine(options, await mkdtemp(join(tmpdir(), 'execlet-stand-in-')));
    engine.#server.listen(join(engine.#directory, 'docker.sock'));
    await once(engine.#server, 'listening');
    return engine;
  }

  /** Sends the `exec_die` of the exec. */
  sendExit(exitCode: number, containerId = CONTAINER_ID): void {
    const Attributes = { execID: EXEC_ID, exitCode: String(exitCode) };
    const event = JSON.stringify({ Type: 'container', Action: 'exec_die', Actor: { ID: containerId, Attributes } });
    for (const stream of this.#events) stream.write(`${event}\n`);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '').replace(/^\/v[\d.]+/, '');
    const body =
      request.method === 'POST' && request.headers['content-length'] !== undefined ? await json(request) : undefined;
    const { apiVersion = '1.41', inspect = () => ({ Running: false, ExitCode: 0, Pid: 1 }) } = this.#options;
    if (!path.startsWith('/events')) this.calls.push({ path: request.url ?? '', body });
    const send = (value: unknown, status = 200): void =>
      void response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value));
    if (path.startsWith('/version')) send({ Version: 'stand-in', ApiVersion: apiVersion, MinAPIVersion: '1.12' });
    else if (path.startsWith('/_ping')) response.end('OK');
    else if (path.startsWith('/containers/json')) send([CONTAINER]);
    else if (path.startsWith('/events')) {
      this.#events.add(response);
      response.on('close', () => this.#events.delete(response));
      response.writeHead(200, { 'Content-Type': 'application/json' }).flushHeaders();
    } else if (path === `/containers/${CONTAINER_ID}/exec`) send({ Id: EXEC_ID }, 201);
    else if (path === `/exec/${EXEC_ID}/start`) response.end();
    else if (path === `/exec/${EXEC_ID}/json`) send(inspect());
    else if (path.startsWith(`/containers/${CONTAINER_ID}/top`) && this.#options.top !== undefined) {
      send({ Titles: ['UID', 'PID', 'CMD'], Processes: this.#options.top().map(pid => ['root', String(pid), 'x']) });
    } else send({}, path.includes('/resize') ? 200 : 404);
  }
}

/** One frame of a multiplexed stream. */
export function stdcopyFrame(type: number, payload: string | Buffer, declaredBytes = payload.length): Buffer {
  const header = Buffer.alloc(8);
  header[0] = type;
  header.writeUInt32BE(declaredBytes, 4);
  return Buffer.concat([header, Buffer.from(payload)]);
}

const CONTAINER = {
  Id: CONTAINER_ID,
  Names: ['/web'],
  Image: 'busybox',
  ImageID: 'sha256:0',
  Created: 1,
  State: 'running',
  Status: 'Up',
  Labels: {
    'io.kubernetes.pod.namespace': 'default',
    'io.kubernetes.pod.name': 'web',
    'io.kubernetes.container.name': 'app',
  },
};
