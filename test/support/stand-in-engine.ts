import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import type { Duplex } from 'node:stream';

const CONTAINER_ID = 'c'.repeat(64);

/** What the Engine says of an exec. */
export interface ExecInspection {
  readonly Running: boolean;
  readonly ExitCode: number | null;
  readonly Pid: number;
}

/** One exec that has been created, as the test plays it. */
export interface StandInExec {
  readonly id: string;
  readonly command: readonly string[];
  /** What it was created with. */
  readonly created: { readonly Tty: boolean; readonly AttachStdin: boolean };
  readonly engine: StandInEngine;
  /** Sends its `exec_die`. */
  sendExit(exitCode: number, containerId?: string): void;
}

/** A call about an exec. */
export type ExecCall = 'create' | 'start' | 'inspect' | 'resize';
/** What is answered instead: an HTTP status, half an answer, or nothing at all. */
export type EngineFault = number | 'cut off' | 'unanswered';

export interface StandInOptions {
  readonly apiVersion?: string;
  /** Plays an exec once it has been started: writes frames on the hijacked connection, ends it, sends events. */
  readonly play: (connection: Duplex, exec: StandInExec) => void;
  /** Listens on TCP, as a remote Engine does, and not on a Unix socket. */
  readonly remote?: boolean;
  /** What the answer to a create, or to a start, waits for. */
  readonly holdCreate?: () => Promise<unknown>;
  readonly holdStart?: () => Promise<unknown>;
  /** Chooses what goes wrong with a call, by the command that was, or is to be, created. */
  readonly fault?: (call: ExecCall, command: readonly string[]) => EngineFault | undefined;
  /** Answers the start without an upgrade, as a proxy in front of the socket does. */
  readonly withoutUpgrade?: boolean;
  /** Undefined: the Engine does not know the exec (any more). */
  readonly inspect?: (exec: StandInExec) => ExecInspection | undefined | Promise<ExecInspection>;
  /** The pids of the container's processes; without it the Engine cannot tell. */
  readonly top?: () => readonly number[];
}

/**
 * An Engine that serves faults a real one cannot be made to show: one container (`default/web/app`), and its execs, any number
 * at once, each played by the test. It speaks version, containers, events and the exec calls, and nothing else.
 */
export class StandInEngine {
  dockerHost: string;
  /** Path and body of every call but the events, in order. */
  readonly calls: { readonly path: string; readonly body: unknown }[] = [];
  readonly #options: StandInOptions;
  readonly #directory: string;
  readonly #server = createServer((request, response) => void this.#answer(request, response));
  readonly #events = new Set<ServerResponse>();
  readonly #execs = new Map<string, StandInExec>();
  #eventsServed = true;
  #created = 0;

  private constructor(options: StandInOptions, directory: string) {
    this.#options = options;
    this.#directory = directory;
    this.dockerHost = `unix://${join(directory, 'docker.sock')}`;
    if (options.withoutUpgrade === true) return;
    this.#server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      this.calls.push({ path: request.url ?? '', body: JSON.parse(head.toString()) });
      socket.on('error', () => undefined);
      void this.#start(request.url ?? '', socket);
    });
  }

  static async start(options: StandInOptions): Promise<StandInEngine> {
    const engine = new StandInEngine(options, await mkdtemp(join(tmpdir(), 'execlet-stand-in-')));
    const { remote = false } = options;
    if (remote) engine.#server.listen(0, '127.0.0.1');
    else engine.#server.listen(join(engine.#directory, 'docker.sock'));
    await once(engine.#server, 'listening');
    const address = engine.#server.address();
    if (remote && address !== null && typeof address === 'object')
      engine.dockerHost = `tcp://127.0.0.1:${address.port}`;
    return engine;
  }

  /** Breaks the event stream, and refuses it until `resumeEvents`. */
  breakEvents(): void {
    this.#eventsServed = false;
    for (const stream of this.#events) stream.destroy();
  }

  resumeEvents(): void {
    this.#eventsServed = true;
  }

  /** Tells that the container has ended. */
  sendDie(): void {
    const event = { Type: 'container', Action: 'die', Actor: { ID: CONTAINER_ID, Attributes: { exitCode: '0' } } };
    for (const stream of this.#events) stream.write(`${JSON.stringify(event)}\n`);
  }

  /** Forgets every exec, as an Engine that has been started again has. */
  forgetExecs(): void {
    this.#execs.clear();
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #start(path: string, socket: Duplex): Promise<void> {
    const { holdStart, play } = this.#options;
    const exec = this.#execIn(path);
    if (exec === undefined) {
      socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n');
      return;
    }
    await holdStart?.();
    const fault = this.#options.fault?.('start', exec.command);
    if (fault !== undefined) {
      if (fault !== 'unanswered') socket.end(faultyAnswer(fault));
      return;
    }
    socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n');
    play(socket, exec);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '').replace(/^\/v[\d.]+/, '');
    const body =
      request.method === 'POST' && Number(request.headers['content-length'] ?? 0) > 0 ? await json(request) : undefined;
    const { apiVersion = '1.41', inspect = () => ({ Running: false, ExitCode: 0, Pid: 1 }) } = this.#options;
    if (!path.startsWith('/events')) this.calls.push({ path: request.url ?? '', body });
    const fault = this.#faultOf(path, body);
    if (fault !== undefined) {
      if (fault !== 'unanswered') request.socket.end(faultyAnswer(fault));
      return;
    }
    const send = (value: unknown, status = 200): void =>
      void response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value));
    if (path.startsWith('/version')) send({ Version: 'stand-in', ApiVersion: apiVersion, MinAPIVersion: '1.12' });
    else if (path.startsWith('/_ping')) response.end('OK');
    else if (path.startsWith('/containers/json')) send([CONTAINER]);
    else if (path.startsWith('/events') && this.#eventsServed) {
      this.#events.add(response);
      response.on('close', () => this.#events.delete(response));
      response.writeHead(200, { 'Content-Type': 'application/json' }).flushHeaders();
    } else if (path === `/containers/${CONTAINER_ID}/exec`) {
      await this.#options.holdCreate?.();
      send({ Id: this.#create(body) }, 201);
    } else if (path.endsWith('/resize')) send({});
    else if (path.startsWith(`/containers/${CONTAINER_ID}/top`) && this.#options.top !== undefined) {
      send({ Titles: ['UID', 'PID', 'CMD'], Processes: this.#options.top().map(pid => ['root', String(pid), 'x']) });
    } else {
      const exec = this.#execIn(path);
      const inspection = exec && path.endsWith('/json') ? await inspect(exec) : undefined;
      if (exec && path.endsWith('/start')) response.end();
      else if (inspection) send(inspection);
      else send({ message: `No such exec instance: ${exec?.id ?? path}` }, 404);
    }
  }

  #faultOf(path: string, body: unknown): EngineFault | undefined {
    const { fault } = this.#options;
    if (fault === undefined) return undefined;
    if (path === `/containers/${CONTAINER_ID}/exec`) return fault('create', (body as { Cmd: readonly string[] }).Cmd);
    const exec = this.#execIn(path);
    if (exec === undefined) return undefined;
    if (path.includes('/resize')) return fault('resize', exec.command);
    return path.endsWith('/json') ? fault('inspect', exec.command) : undefined;
  }

  #create(body: unknown): string {
    const created = body as StandInExec['created'] & { readonly Cmd: readonly string[] };
    this.#created += 1;
    const id = String(this.#created).padStart(64, 'e');
    const sendExit = (exitCode: number, containerId = CONTAINER_ID): void => {
      const Attributes = { execID: id, exitCode: String(exitCode) };
      const event = JSON.stringify({ Type: 'container', Action: 'exec_die', Actor: { ID: containerId, Attributes } });
      for (const stream of this.#events) stream.write(`${event}\n`);
    };
    this.#execs.set(id, { id, command: created.Cmd, created, engine: this, sendExit });
    return id;
  }

  #execIn(path: string): StandInExec | undefined {
    const [, id = ''] = /\/exec\/(\w+)\//.exec(path) ?? [];
    return this.#execs.get(id);
  }
}

function faultyAnswer(fault: number | 'cut off'): string {
  const body = '{"message":"a fault"}';
  const [status, length] = fault === 'cut off' ? [200, body.length + 1] : [fault, body.length];
  return `HTTP/1.1 ${status} Fault\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n${body}`;
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
