import type { Agent, ClientRequest, IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest, type AgentOptions } from 'node:https';
import type { Socket } from 'node:net';
import { ExecletError } from '../errors.ts';
import { Agent as HttpAgent, request as httpRequest } from '../node-http.ts';

/** Longer than any answer: the inspection of an exec repeats its command, which may be 1 MiB before JSON escapes it. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
/** Of an answer that is no JSON: a proxy's page. */
const MAX_QUOTED_CHARACTERS = 500;
/** How Node tells that a kept connection had been closed by the other side. */
const STALE: readonly (string | undefined)[] = ['ECONNRESET', 'EPIPE'];

/** Where the Engine is reached. */
export type EngineAddress =
  | { readonly socketPath: string }
  | { readonly protocol: 'http' | 'https'; readonly host: string; readonly port: number };

export interface EngineHttpOptions {
  readonly address: EngineAddress;
  /** What is shown and trusted where TLS is spoken. */
  readonly tls: Pick<AgentOptions, 'ca' | 'cert' | 'key'>;
  /** For each whole answer; for an upgrade, until it is made. */
  readonly timeoutMs: number;
}

export interface EngineRequest {
  readonly method: 'GET' | 'POST';
  /** With the version of the API. */
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** From `connection`; without one the connection is any that is free. */
  readonly agent?: Agent;
  readonly signal?: AbortSignal;
}

/** The Engine has answered, and it was no success. The message is the Engine's own. */
export class EngineRefusal extends Error {
  override readonly name = 'EngineRefusal';
  readonly statusCode: number;

  constructor(statusCode: number, message: string) {
    super(message);
    this.statusCode = statusCode;
  }
}

/** A kept connection turned out to be closed when a request went out on it. Whether the request was heard, nobody knows. */
class StaleConnection extends Error {
  override readonly name = 'StaleConnection';
}

/**
 * The calls that are made for every exec, over Node's own HTTP client: dockerode builds each of them anew from
 * options that it inspects to their last property, and never settles one whose answer is cut off.
 *
 * A call rejects with an EngineRefusal, with its signal's reason, or with what kept it from a whole answer.
 */
export class EngineHttp {
  readonly #options: EngineHttpOptions;
  readonly #secure: boolean;

  constructor(options: EngineHttpOptions) {
    this.#options = options;
    this.#secure = 'protocol' in options.address && options.address.protocol === 'https';
  }

  /**
   * A connection that is made for the first request which names it, and kept for the next one. Its owner destroys it; after an upgrade
   * that does nothing any more.
   */
  connection(): Agent {
    return this.#agent({ keepAlive: true });
  }

  /**
   * The answer's JSON. Where the connection was an old one, and turns out to be closed, the request is made once more: what must not be
   * done twice goes first on a connection of its own.
   */
  ask(request: EngineRequest): Promise<unknown> {
    return this.#repeating(request, (sent, { resolve, reject }) => {
      sent.on('response', response => readWhole(response, text => resolve(parseJson(text)), reject));
    });
  }

  /**
   * The connection itself, once the Engine has agreed to an upgrade, with an `error` listener attached. Made once more as `ask` is.
   *
   * @throws {ExecletError} RuntimeUnavailable for an answer that is a success and no upgrade
   */
  upgrade(request: EngineRequest): Promise<Socket> {
    const upgrading = { ...request, upgrade: true };
    return this.#repeating<Socket>(upgrading, (sent, { resolve, reject }) => {
      sent.on('upgrade', (_response, socket, head) => {
        socket.on('error', () => undefined); // in the same tick; who reads the stream hears it too
        if (head.length > 0) socket.unshift(head);
        resolve(socket);
      });
      sent.on('response', response => {
        if (isSuccess(response)) reject(upgradeBlocked());
        else readWhole(response, () => undefined, reject);
      });
    });
  }

  async #repeating<T>(request: SentRequest, expect: Expectation<T>): Promise<T> {
    const deadlineAt = performance.now() + this.#options.timeoutMs;
    try {
      return await this.#send(request, deadlineAt, expect);
    } catch (stale) {
      if (!(stale instanceof StaleConnection)) throw stale;
      try {
        return await this.#send({ ...request, agent: this.#agent({}) }, deadlineAt, expect);
      } catch (cause) {
        // Perhaps it was heard the first time, and refused only for being the second.
        throw cause instanceof EngineRefusal && request.method !== 'GET' ? stale : cause;
      }
    }
  }

  async #send<T>(request: SentRequest, deadlineAt: number, expect: Expectation<T>): Promise<T> {
    const { signal } = request;
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const sent = this.#begin(request);
    const fail = (cause: unknown): void => {
      reject(cause); // the first of them
      sent.destroy();
    };
    const abort = (): void => fail(signal?.reason);
    const late = (): void => fail(new Error(`no whole answer within ${this.#options.timeoutMs} ms`));
    const deadline = setTimeout(late, Math.max(0, deadlineAt - performance.now()));
    signal?.addEventListener('abort', abort, { once: true });
    let answered = false;
    sent.on('response', () => (answered = true));
    sent.on('error', (cause: NodeJS.ErrnoException) => {
      const stale = sent.reusedSocket && !answered && STALE.includes(cause.code);
      fail(stale ? new StaleConnection(cause.message, { cause }) : cause);
    });
    expect(sent, { resolve, reject: fail });
    try {
      return await promise;
    } finally {
      clearTimeout(deadline);
      signal?.removeEventListener('abort', abort);
    }
  }

  #begin({ method, path, body, agent, upgrade = false }: SentRequest): ClientRequest {
    const { address, tls } = this.#options;
    const content = body === undefined ? undefined : JSON.stringify(body);
    const options = {
      method,
      path,
      agent,
      headers: {
        ...(upgrade && { Connection: 'Upgrade', Upgrade: 'tcp' }),
        ...(content !== undefined && {
          'Content-Type': 'application/json',
          'Content-Length': Buffer.byteLength(content),
        }),
      },
    };
    let sent: ClientRequest;
    if ('socketPath' in address) sent = httpRequest({ ...options, socketPath: address.socketPath });
    else {
      const { host, port } = address;
      sent = this.#secure ? httpsRequest({ ...options, ...tls, host, port }) : httpRequest({ ...options, host, port });
    }
    return sent.end(content);
  }

  #agent(options: AgentOptions): Agent {
    return this.#secure ? new HttpsAgent(options) : new HttpAgent(options);
  }
}

interface SentRequest extends EngineRequest {
  readonly upgrade?: boolean;
}

/** Attaches what hears the answer to a request. Either function may be called again, to no effect. */
type Expectation<T> = (
  sent: ClientRequest,
  settle: { readonly resolve: (answer: T) => void; readonly reject: (cause: Error) => void },
) => void;

/** Reads the answer to its end: a success goes to `take`, all else to `fail`. */
function readWhole(response: IncomingMessage, take: (text: string) => void, fail: (cause: Error) => void): void {
  const pieces: Buffer[] = [];
  let bytes = 0;
  const judge = (total: number): void => {
    if (total > MAX_ANSWER_BYTES) fail(new Error(`the answer is longer than ${MAX_ANSWER_BYTES} bytes`));
  };
  judge(Number(response.headers['content-length'] ?? 0));
  response.on('data', (piece: Buffer) => {
    bytes += piece.length;
    judge(bytes);
    if (bytes <= MAX_ANSWER_BYTES) pieces.push(piece);
  });
  response.on('error', () => fail(new Error('the answer was cut off')));
  response.on('end', () => {
    const text = Buffer.concat(pieces).toString('utf8');
    if (isSuccess(response)) take(text);
    else fail(new EngineRefusal(response.statusCode ?? 0, messageIn(text, response)));
  });
}

function isSuccess({ statusCode = 0 }: IncomingMessage): boolean {
  return statusCode >= 200 && statusCode < 300;
}

function upgradeBlocked(): ExecletError {
  const text = 'a proxy in front of the Engine blocks the connection upgrade of exec start';
  return new ExecletError('RuntimeUnavailable', text);
}

/** Undefined for what is no JSON, such as the empty answer to a resize. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function messageIn(text: string, { statusCode = 0, statusMessage = '' }: IncomingMessage): string {
  const json = parseJson(text);
  if (typeof json === 'object' && json !== null && 'message' in json) return String(json.message);
  const quoted = text.trim().slice(0, MAX_QUOTED_CHARACTERS);
  return `HTTP ${statusCode} ${quoted === '' ? statusMessage : quoted}`;
}
