import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { ExecOutcome, RemoteCommandConnection } from '../exec/connection.ts';
import { SessionEnded } from '../exec/end-reason.ts';
import type { HandlerRegistry, RegisteredContainer } from '../exec/handler-registry.ts';
import { runSession } from '../exec/session.ts';
import type { SessionTable } from '../exec/session-table.ts';
import { ExecletError } from '../errors.ts';
import { notServed } from '../kubeapi/not-served.ts';
import type { Logger } from '../log.ts';
import type { ConnectionLimits } from '../remotecommand/accept.ts';
import { negotiateSpdy, negotiateWebSocket, protocolsOf, type StreamProtocol } from '../remotecommand/protocol.ts';
import { acceptSpdy } from '../remotecommand/spdy.ts';
import { checkWebSocketHandshake, type WebSocketAcceptor } from '../remotecommand/websocket.ts';
import { errorResponse, handshakeHeaders, refuseConnection } from './error-response.ts';
import { parseExecPath, parseExecRequest, type ExecRequest, type PathForm } from './exec-request.ts';
import { checkOrigin } from './origin.ts';
import { bodyOfUpgrade } from './upgrade-body.ts';

/** Of what a stranger sent; a request line may be 1 MiB. */
const MAX_LOGGED_CHARACTERS = 256;

export interface ExecServiceOptions {
  readonly registry: HandlerRegistry;
  readonly sessions: SessionTable;
  readonly webSockets: WebSocketAcceptor;
  readonly limits: ConnectionLimits;
  /** Throws an ExecletError while nothing new may start: the Engine is away, or the daemon is stopping. */
  readonly checkServing: () => void;
  readonly log: Logger;
}

type Transport = 'spdy' | 'websocket';

/** An exec that has passed every check before the upgrade. */
interface AdmittedExec {
  readonly request: ExecRequest;
  readonly container: RegisteredContainer;
}

/**
 * The road of every exec, in reading order: check who asks, parse what is asked, resolve the container, negotiate, accept,
 * run. Everything before `accept` is refused in plain HTTP; nothing after it is.
 */
export class ExecService {
  readonly #options: ExecServiceOptions;

  constructor(options: ExecServiceOptions) {
    this.#options = options;
  }

  /**
   * The checks that an exec must pass, with or without an upgrade.
   *
   * @throws {ExecletError} for the first that fails
   */
  admit(incoming: IncomingMessage): AdmittedExec {
    checkOrigin(incoming.headers);
    const pathname = pathOf(incoming);
    const why = notServed(pathname);
    if (why !== undefined) throw new ExecletError('NotImplemented', why);
    const target = parseExecPath(pathname);
    if (target === undefined) throw new ExecletError('HandlerNotFound', '404: Page Not Found');
    const request = parseExecRequest(target, incoming.method ?? '', queryOf(incoming));
    this.#options.checkServing();
    return { request, container: this.#options.registry.resolve(request) };
  }

  /** Answers one upgrade, whatever it asks. `socket` already has an error listener. Never rejects. */
  async upgrade(incoming: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const transport = transportOf(incoming);
    let admitted: AdmittedExec;
    let protocol: StreamProtocol;
    let behindRequest: Buffer;
    try {
      admitted = this.admit(incoming);
      protocol = negotiate(incoming, transport);
      behindRequest = await bodyOfUpgrade(incoming, socket, head);
    } catch (cause) {
      const error = ExecletError.from(cause);
      const extra = transport === undefined ? {} : handshakeHeaders(error, transport);
      refuseConnection(socket, errorResponse(error, formOf(incoming), extra));
      this.#options.log.info('upgrade refused', {
        path: pathOf(incoming).slice(0, MAX_LOGGED_CHARACTERS),
        status: error.httpStatus,
        code: error.code,
        error: error.message.slice(0, MAX_LOGGED_CHARACTERS),
      });
      return;
    }
    if (socket instanceof Socket) {
      socket.setNoDelay(true);
      socket.setTimeout(0);
    }
    const { webSockets, limits, log } = this.#options;
    const acceptance = {
      request: incoming,
      socket,
      head: behindRequest,
      protocol,
      wanted: admitted.request.wanted,
      limits,
    };
    let connection: RemoteCommandConnection;
    try {
      connection = transport === 'websocket' ? await webSockets.accept(acceptance) : await acceptSpdy(acceptance);
    } catch (cause) {
      log.info('client did not complete the upgrade', {
        ...admitted.container.ref,
        protocol: protocol.name,
        error: String(cause),
      });
      return;
    }
    this.#run(admitted, connection);
  }

  #run({ request, container }: AdmittedExec, connection: RemoteCommandConnection): void {
    const { sessions, log } = this.#options;
    const id = randomUUID();
    const startedAt = Date.now();
    const fields = {
      session: id,
      ...container.ref,
      transport: connection.transport,
      protocol: connection.protocol,
      tty: request.wanted.tty,
    };
    const spec = { command: request.command, tty: request.wanted.tty };
    const ending = new AbortController();
    const ended = (outcome: ExecOutcome): void => {
      const durationMs = Date.now() - startedAt;
      if (outcome.kind === 'exited') {
        log.info('session ended', { ...fields, reason: 'exit', exitCode: outcome.exitCode, durationMs });
        return;
      }
      const { reason, error } = outcome;
      if (error.code === 'Internal' && !(error.cause instanceof SessionEnded)) {
        log.error('session failed unexpectedly', { session: id, error: error.stack }); // a mistake of ours
      }
      // The text of a start failure quotes the command, which is not for the log.
      log.info('session ended', {
        ...fields,
        reason,
        ...(reason !== 'start_failed' && { error: error.message }),
        durationMs,
      });
    };
    log.info('session started', fields);
    sessions.add(ending, runSession({ container, spec, connection, ending }, ended));
  }
}

/**
 * Whether an upgrade is answered as one. Clients offer upgrades they can do without, such as h2c, with requests for any path;
 * only on an exec path, where nothing works without, is such an offer refused.
 */
export function takesUpgrade(incoming: IncomingMessage): boolean {
  const pathname = pathOf(incoming);
  return transportOf(incoming) !== undefined || pathname.startsWith('/exec/') || pathname.endsWith('/exec');
}

/** The form in which a request expects its errors. */
export function formOf(incoming: IncomingMessage): PathForm {
  return pathOf(incoming).startsWith('/api') ? 'api' : 'kubelet';
}

/** The path as it was sent. A request target that is no path, such as a proxy's absolute form, names nothing here. */
function pathOf({ url = '' }: IncomingMessage): string {
  const mark = url.indexOf('?');
  return mark < 0 ? url : url.slice(0, mark);
}

/** To be called once: a query of 1 MiB takes a tenth of a second, for which every other session waits. */
function queryOf({ url = '' }: IncomingMessage): URLSearchParams {
  const mark = url.indexOf('?');
  return new URLSearchParams(mark < 0 ? '' : url.slice(mark));
}

/** WebSocket is looked for before SPDY, both without regard to case, as in Kubernetes. Undefined for any other upgrade. */
function transportOf({ headers }: IncomingMessage): Transport | undefined {
  const upgrade = (headers.upgrade ?? '').toLowerCase();
  if (!(headers.connection ?? '').toLowerCase().includes('upgrade')) return undefined;
  if (upgrade === 'websocket') return 'websocket';
  return upgrade.includes('spdy/3.1') ? 'spdy' : undefined;
}

function negotiate(incoming: IncomingMessage, transport: Transport | undefined): StreamProtocol {
  const { headers } = incoming;
  if (transport === 'websocket') {
    checkWebSocketHandshake(incoming);
    return negotiateWebSocket(protocolsOf(headers['sec-websocket-protocol']));
  }
  if (transport === 'spdy') return negotiateSpdy(protocolsOf(headerText(headers['x-stream-protocol-version'])));
  throw new ExecletError(
    'BadExecRequest',
    `unable to upgrade to ${headers.upgrade ?? 'nothing'}: this server speaks SPDY/3.1 and websocket`,
  );
}

function headerText(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header.join(',') : header;
}
