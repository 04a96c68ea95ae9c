import type { Agent } from 'node:http';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import Docker from 'dockerode';
import { ExecletError } from '../errors.ts';
import type { TerminalSize } from '../exec/connection.ts';
import type { EngineOperation } from '../metrics.ts';
import { IncomingMessage } from '../node-http.ts';
import { keepReadingAfterBrokenPipe } from './broken-pipe.ts';
import { EngineHttp, EngineRefusal, type EngineHttpOptions } from './engine-http.ts';
import { fieldsOf } from './json-fields.ts';

/** The newest API we were written against; an older Engine is spoken to in its own newest. */
export const NEWEST_API_VERSION = '1.51';
/** After the time that the Engine has for an answer. */
const CUT_OFF_ANSWER_MS = 1_000;
/**
 * Of silence from a remote Engine; then the kernel looks whether its host is there, ten times, a second apart. A Unix socket has no
 * such setting, and ignores it.
 */
const KEEPALIVE_DELAY_MS = 20_000;
/** ConsoleSize of exec create and start. */
export const CONSOLE_SIZE_SINCE = '1.42';

/**
 * The Engine's default detach keys swallow Ctrl-P; these are six control characters that nobody types in a row. They cannot be
 * switched off, and the Engine withholds the first of them until another key follows: so it is the rarest, and not Ctrl-_, which
 * undoes in shells.
 */
const DETACH_KEYS = 'ctrl-^,ctrl-_,ctrl-^,ctrl-_,ctrl-^,ctrl-_';

const EVENT_FILTERS: Docker.GetEventsOptions['filters'] = {
  type: ['container'],
  event: ['start', 'die', 'destroy', 'rename', 'pause', 'unpause', 'exec_die'],
};

/** Where the Engine listens; `text` names it in messages. */
export type EngineEndpoint =
  | { readonly text: string; readonly socketPath: string }
  | { readonly text: string; readonly protocol: 'http' | 'https'; readonly host: string; readonly port: number };

export interface ExecToCreate {
  readonly containerId: string;
  readonly command: readonly string[];
  readonly tty: boolean;
  readonly stdin: boolean;
  /** Added to the container's environment, each `NAME=value`. */
  readonly env: readonly string[];
}

/** An exec that the Engine has created. */
export interface EngineExec {
  readonly id: string;
  /** Starts it and answers the hijacked connection, with an `error` listener attached. Not to be aborted, as `createExec`. */
  start(options: { readonly tty: boolean; readonly size: TerminalSize | undefined }): Promise<Socket>;
  /** Instead of `start`: it stays in the Engine, and its connection is closed. */
  leave(): void;
}

/** What the Engine knows of an exec; `exitCode` is null while it runs, `pid` is 0 when it never started. */
export interface ExecState {
  readonly running: boolean;
  readonly exitCode: number | null;
  readonly pid: number;
}

/** What the Engine says of itself. */
export interface EngineVersion {
  readonly version: string;
  /** The newest API that it speaks, and the oldest, where it says so. */
  readonly newestApi: string;
  readonly oldestApi: string | undefined;
}

export interface EngineOptions {
  readonly endpoint: EngineEndpoint;
  /** For each answer. */
  readonly timeoutMs: number;
  /** Told how long each answer took, or the failure to get one; of a stream, how long it took to begin. */
  readonly onAnswer?: (operation: EngineOperation, seconds: number) => void;
}

/** The Engine's answer to `top`, which the published types leave open. */
interface ContainerTop {
  readonly Titles: readonly string[];
  readonly Processes: readonly (readonly string[])[];
}

/**
 * The Docker Engine's API as far as execlet needs it: over dockerode, and over a client of our own what every exec asks.
 *
 * Of dockerode two clients: one whose calls end after `timeoutMs`, one for the event stream, which lives long.
 * Failures of the Engine come as ExecletErrors: `RuntimeUnavailable` where it did not answer, else by its status code.
 */
export class Engine {
  readonly endpoint: EngineEndpoint;
  readonly #timeoutMs: number;
  readonly #onAnswer: EngineOptions['onAnswer'];
  #calls: Docker;
  #streams: Docker;
  readonly #http: EngineHttp;
  #apiVersion = '';

  constructor({ endpoint, timeoutMs, onAnswer }: EngineOptions) {
    this.endpoint = endpoint;
    this.#timeoutMs = timeoutMs;
    this.#onAnswer = onAnswer;
    [this.#calls, this.#streams] = this.#clients();
    const { ca, cert, key } = this.#calls.modem as EngineHttpOptions['tls']; // of DOCKER_CERT_PATH, where that is said
    this.#http = new EngineHttp({ address: endpoint, tls: { ca, cert, key }, timeoutMs });
  }

  /** True when the Engine is on this host, behind a Unix socket. */
  get local(): boolean {
    return 'socketPath' in this.endpoint;
  }

  /** Asks the Engine for its version and speaks no newer API than it does. Call it again when the Engine may be another. */
  async negotiate(): Promise<EngineVersion> {
    const { Version, ApiVersion, MinAPIVersion } = await this.#call(
      'version',
      new Docker(this.#options({ timeout: this.#timeoutMs })).version(),
    );
    this.#apiVersion = isAtLeast(NEWEST_API_VERSION, ApiVersion) ? ApiVersion : NEWEST_API_VERSION;
    [this.#calls, this.#streams] = this.#clients();
    return { version: Version, newestApi: ApiVersion, oldestApi: MinAPIVersion };
  }

  /** The API that is spoken, since the last `negotiate`; empty before the first. */
  get apiVersion(): string {
    return this.#apiVersion;
  }

  /** What time it is where the Engine runs. For `execlet doctor`, so no metric counts it. */
  async systemTime(): Promise<Date> {
    try {
      const { SystemTime } = fieldsOf(await this.#whole(this.#calls.info()));
      return new Date(String(SystemTime));
    } catch (cause) {
      throw this.#translate(cause);
    }
  }

  async ping(): Promise<void> {
    await this.#call('ping', this.#calls.ping());
  }

  /** Every container, running or not; only one where an id is given. */
  async listContainers(id?: string): Promise<Docker.ContainerInfo[]> {
    return this.#call(
      'list',
      this.#calls.listContainers({ all: true, ...(id !== undefined && { filters: { id: [id] } }) }),
    );
  }

  /** The pid of the container's main process, in the Engine's own pid namespace; 0 where it does not run. */
  async mainPid(containerId: string): Promise<number> {
    const { State } = await this.#call('inspect', this.#calls.getContainer(containerId).inspect());
    return State.Pid;
  }

  /** The stream of container events as JSON lines; it ends only by failure, or when it is destroyed. */
  async events(signal: AbortSignal): Promise<Readable> {
    const events = await this.#call(
      'events',
      this.#deadline(signal, abortSignal => this.#streams.getEvents({ filters: EVENT_FILTERS, abortSignal })),
    );
    // dockerode declares the bare interface; what it hands over is this.
    if (!(events instanceof IncomingMessage)) {
      throw new ExecletError('RuntimeUnavailable', 'the Engine sent no event stream');
    }
    events.socket.setKeepAlive(true, KEEPALIVE_DELAY_MS);
    return events;
  }

  /**
   * Creates an exec. One that is never started stays until its container goes; so this cannot be aborted, or nobody would know of the
   * one that the Engine has made. For the same reason it has a new connection, on which nothing is ever sent twice, and the start
   * finds that still open.
   */
  async createExec({ containerId, command, tty, stdin, env }: ExecToCreate): Promise<EngineExec> {
    const connection = this.#http.connection();
    const created = this.#http.ask({
      method: 'POST',
      path: this.#path(`/containers/${containerId}/exec`),
      body: {
        Cmd: command,
        ...(env.length > 0 && { Env: env }),
        Tty: tty,
        AttachStdin: stdin,
        // Always both: with neither attached the stream ends at once although the command runs.
        AttachStdout: true,
        AttachStderr: true,
        DetachKeys: DETACH_KEYS,
      },
      agent: connection,
    });
    try {
      const { Id: id } = fieldsOf(await this.#timed('create', created));
      if (typeof id !== 'string')
        throw new ExecletError('RuntimeUnavailable', 'the Engine created an exec without an id');
      return {
        id,
        start: options => this.#start(id, options, connection).finally(() => connection.destroy()),
        leave: () => connection.destroy(),
      };
    } catch (cause) {
      connection.destroy();
      throw cause;
    }
  }

  async #start(
    id: string,
    { tty, size }: { tty: boolean; size: TerminalSize | undefined },
    connection: Agent,
  ): Promise<Socket> {
    const consoleSize = size !== undefined && isAtLeast(this.#apiVersion, CONSOLE_SIZE_SINCE);
    const started = this.#http.upgrade({
      method: 'POST',
      path: this.#path(`/exec/${id}/start`),
      body: {
        Tty: tty, // must be as it was at create, or stderr is lost
        Detach: false,
        ...(consoleSize && { ConsoleSize: [size.height, size.width] }),
      },
      agent: connection,
    });
    const stream = await this.#timed('start', started);
    stream.setKeepAlive(true, KEEPALIVE_DELAY_MS);
    keepReadingAfterBrokenPipe(stream);
    return stream;
  }

  async resizeExec(id: string, { width, height }: TerminalSize, signal: AbortSignal): Promise<void> {
    const path = this.#path(`/exec/${id}/resize?w=${width}&h=${height}`);
    await this.#timed('resize', this.#http.ask({ method: 'POST', path, signal }));
  }

  async inspectExec(id: string, signal: AbortSignal): Promise<ExecState> {
    const path = this.#path(`/exec/${id}/json`);
    const state = fieldsOf(await this.#timed('inspect', this.#http.ask({ method: 'GET', path, signal })));
    const { Running: running, ExitCode: exitCode = null, Pid: pid } = state;
    if (
      typeof running !== 'boolean' ||
      typeof pid !== 'number' ||
      (exitCode !== null && typeof exitCode !== 'number')
    ) {
      throw new ExecletError('RuntimeUnavailable', `the Engine does not tell the state of exec ${id}`);
    }
    return { running, exitCode, pid };
  }

  /** The pids of the container's processes, in the Engine's own pid namespace. The Engine asks `ps`, which must be there. */
  async listPids(containerId: string, signal: AbortSignal): Promise<number[]> {
    const answer = this.#calls.getContainer(containerId).top({ abortSignal: signal }) as Promise<ContainerTop>;
    const { Titles, Processes } = await this.#call('top', answer);
    const column = Titles.indexOf('PID');
    if (column < 0)
      throw new ExecletError('Internal', `the Engine's list of processes has no PID: ${Titles.join(' ')}`);
    return Processes.map(fields => Number(fields[column]));
  }

  /** Runs a call of the client without time-outs under a deadline of its own, which ends with the call's answer. */
  async #deadline<T>(signal: AbortSignal | undefined, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    signal?.throwIfAborted();
    const own = new AbortController();
    const abort = (): void => own.abort(signal?.reason);
    const timer = setTimeout(() => own.abort(), this.#timeoutMs);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      return await call(own.signal);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    }
  }

  #path(path: string): string {
    return this.#apiVersion === '' ? path : `/v${this.#apiVersion}${path}`;
  }

  async #call<T>(operation: EngineOperation, answer: Promise<T>): Promise<T> {
    return this.#timed(operation, this.#whole(answer));
  }

  /** docker-modem never settles an answer whose body is cut off, so each has a deadline here too, behind the client's own. */
  async #whole<T>(answer: Promise<T>): Promise<T> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const deadlineMs = this.#timeoutMs + CUT_OFF_ANSWER_MS;
    const timer = setTimeout(() => reject(new Error(`no whole answer within ${deadlineMs} ms`)), deadlineMs);
    try {
      return await Promise.race([answer, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The answer, with its failures translated. */
  async #timed<T>(operation: EngineOperation, answer: Promise<T>): Promise<T> {
    const askedAt = performance.now();
    try {
      return await answer;
    } catch (cause) {
      throw cause instanceof ExecletError ? cause : this.#translate(cause);
    } finally {
      this.#onAnswer?.(operation, (performance.now() - askedAt) / 1_000);
    }
  }

  #translate(cause: unknown): ExecletError {
    const message = messageOf(cause);
    switch (statusCodeOf(cause)) {
      case 400:
        return new ExecletError('BadExecRequest', message, { cause });
      case 404:
        return new ExecletError('HandlerNotFound', message, { cause });
      case 409:
        return new ExecletError('ContainerNotRunning', message, { cause });
      case undefined:
        return new ExecletError(
          'RuntimeUnavailable',
          `the Engine at ${this.endpoint.text} does not answer: ${message}`,
          {
            cause,
          },
        );
      default:
        return new ExecletError('Internal', message, { cause });
    }
  }

  #clients(): [calls: Docker, streams: Docker] {
    const version = this.#apiVersion === '' ? {} : { version: `v${this.#apiVersion}` };
    return [
      new Docker(this.#options({ ...version, timeout: this.#timeoutMs })),
      new Docker(this.#options({ ...version, timeout: 0 })),
    ];
  }

  /** docker-modem mixes DOCKER_HOST into whatever is left open, so host and socketPath are always both said. */
  #options(options: Docker.DockerOptions): Docker.DockerOptions {
    const { endpoint } = this;
    if ('socketPath' in endpoint) return { ...options, host: '', socketPath: endpoint.socketPath, protocol: 'http' };
    return { ...options, host: endpoint.host, port: endpoint.port, protocol: endpoint.protocol };
  }
}

/** Compares API versions such as `1.9` and `1.41`. */
export function isAtLeast(version: string, wanted: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [wantedMajor = 0, wantedMinor = 0] = wanted.split('.').map(Number);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

/** docker-modem puts the Engine's answer on its errors; its own message wraps that in HTTP details. */
function messageOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  if (cause instanceof EngineRefusal) return cause.message;
  const { json } = cause as { json?: unknown };
  if (typeof json === 'object' && json !== null && 'message' in json) return String(json.message);
  const { code } = cause as NodeJS.ErrnoException; // some errors of failed connections have nothing else
  return cause.message === '' ? (code ?? cause.name) : cause.message;
}

function statusCodeOf(cause: unknown): number | undefined {
  const { statusCode } = (cause ?? {}) as { statusCode?: unknown };
  return typeof statusCode === 'number' ? statusCode : undefined;
}
