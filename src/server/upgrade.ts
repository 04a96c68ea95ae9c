import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Caller } from '../access/caller.ts';
import type { RemoteCommandConnection } from '../exec/connection.ts';
import { SessionEnded } from '../exec/end-reason.ts';
import type { ContainerRef, HandlerRegistry, RegisteredContainer } from '../exec/handler-registry.ts';
import type { Session } from '../exec/session.ts';
import type { SessionLog } from '../exec/session-log.ts';
import type { SessionFields } from '../exec/session-record.ts';
import type { SessionTable } from '../exec/session-table.ts';
import { ExecletError } from '../errors.ts';
import { notServed } from '../kubeapi/not-served.ts';
import type { Logger } from '../log.ts';
import type { ConnectionLimits } from '../remotecommand/accept.ts';
import { negotiateSpdy, negotiateWebSocket, protocolsOf, type StreamProtocol } from '../remotecommand/protocol.ts';
import { acceptSpdy } from '../remotecommand/spdy.ts';
import { checkWebSocketHandshake, type WebSocketAcceptor } from '../remotecommand/websocket.ts';
import type { AccessControl } from './access-control.ts';
import { errorResponse, formOf, handshakeHeaders, notFound, refuseConnection } from './error-response.ts';
import { AUDIT_ID_VARIABLE, isExecPath, parseExecPath, parseExecRequest, type ExecRequest } from './exec-request.ts';
import { Attempt, pathOf } from './attempt.ts';
import { callerFields, type Refusals } from './refusals.ts';
import { bodyOfUpgrade } from './upgrade-body.ts';

/** Of one request; each argument of a command is one. */
const MAX_PARAMETERS = 65_536;

export interface ExecServiceOptions {
  readonly access: AccessControl;
  readonly registry: HandlerRegistry;
  readonly sessions: SessionTable;
  readonly webSockets: WebSocketAcceptor;
  readonly limits: ConnectionLimits;
  /** Throws an ExecletError while nothing new may start: the Engine is away, or the daemon is stopping. */
  readonly checkServing: () => void;
  /** An exec has passed authentication or authorization, and was held up by it for so long. */
  readonly onPhase: (phase: 'authenticate' | 'authorize', ms: number) => void;
  readonly refusals: Refusals;
  readonly sessionLog: SessionLog | undefined;
  readonly log: Logger;
}

type Transport = 'spdy' | 'websocket';

/** An exec that has passed every check before the upgrade. */
interface AdmittedExec {
  readonly caller: Caller;
  readonly request: ExecRequest;
  readonly container: RegisteredContainer;
}

type LoggedField = 'session' | 'user' | keyof ContainerRef | 'transport' | 'protocol' | 'tty';

interface Negotiated {
  readonly transport: Transport;
  readonly protocol: StreamProtocol;
}

/** An upgrade that nothing but its client can stop any more. */
interface AdmittedUpgrade extends AdmittedExec, Negotiated {
  readonly incoming: IncomingMessage;
  readonly socket: Duplex;
  /** What the client sent behind its request. */
  readonly head: Buffer;
  readonly session: Session;
}

/**
 * The road of every exec, in reading order: who asks, what is asked, whether they may, which container, negotiate, accept, run.
 * Everything before `accept` is refused in plain HTTP; nothing after it is.
 */
export class ExecService {
  readonly #options: ExecServiceOptions;

  constructor(options: ExecServiceOptions) {
    this.#options = options;
  }

  /**
   * The checks that an exec must pass, with or without an upgrade; the attempt learns how far it came.
   *
   * @throws {ExecletError} for the first that fails
   */
  async admit(attempt: Attempt): Promise<AdmittedExec> {
    const { access, registry, sessionLog, checkServing, onPhase } = this.#options;
    const { incoming, pathname } = attempt;
    let beganAt = performance.now();
    const { caller, action } = await access.check(attempt);
    if (action.kind === 'exec') onPhase('authenticate', performance.now() - beganAt);
    attempt.stage = 'request';
    const why = notServed(pathname);
    if (why !== undefined) throw new ExecletError('NotImplemented', why);
    const target = action.kind === 'exec' ? parseExecPath(pathname) : undefined;
    if (target === undefined) throw notFound(incoming);
    const request = parseExecRequest(target, incoming.method ?? '', queryOf(incoming));
    attempt.request = request;
    attempt.stage = 'authorize';
    const { namespace, pod, command, auditId } = request;
    if (auditId !== undefined && caller.proof !== 'front_proxy') {
      throw new ExecletError('NotAllowed', 'env is taken from a front proxy only');
    }
    // The container that was authorised is the one that is taken, also where its pod gets a second one meanwhile.
    const container = request.container ?? registry.onlyContainer(namespace, pod);
    const named = container === undefined ? {} : { container };
    beganAt = performance.now();
    await access.authorize(caller, { kind: 'exec', namespace, pod, ...named, command });
    onPhase('authorize', performance.now() - beganAt);
    attempt.stage = 'record';
    sessionLog?.checkWritable();
    attempt.stage = 'resolve';
    checkServing();
    return { caller, request, container: registry.resolve({ ...request, ...named }) };
  }

  /** Answers one upgrade, whatever it asks. `socket` already has an error listener. Never rejects. */
  async upgrade(incoming: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const { refusals } = this.#options;
    const transport = transportOf(incoming);
    const attempt = new Attempt(incoming);
    let upgrade: AdmittedUpgrade;
    try {
      const admitted = await this.admit(attempt);
      attempt.stage = 'negotiate';
      const negotiated = negotiate(incoming, transport);
      const behindRequest = await bodyOfUpgrade(incoming, socket, head);
      const session = await this.#begin(attempt, admitted, negotiated);
      upgrade = { ...admitted, ...negotiated, incoming, socket, head: behindRequest, session };
    } catch (cause) {
      const error = ExecletError.from(cause);
      const extra = transport === undefined ? {} : handshakeHeaders(error, transport);
      refuseConnection(socket, errorResponse(error, formOf(incoming), extra));
      refusals.record(attempt, error);
      return;
    }
    return this.#accept(upgrade); // not `await`, which would keep the request in memory for as long as the session lasts
  }

  /** The last two checks: that there is room for the session, and that it is on record. */
  async #begin(attempt: Attempt, admitted: AdmittedExec, negotiated: Negotiated): Promise<Session> {
    const { sessions, sessionLog } = this.#options;
    attempt.stage = 'limit';
    const session = sessions.admit(recordOf(attempt, admitted, negotiated), admitted.container);
    attempt.stage = 'record';
    try {
      await sessionLog?.started(session.fields);
    } catch (cause) {
      session.withdraw();
      throw cause;
    }
    return session;
  }

  async #accept(upgrade: AdmittedUpgrade): Promise<void> {
    const { webSockets, limits, sessionLog, log } = this.#options;
    const { incoming, socket, head, transport, protocol, request, container, session } = upgrade;
    if (socket instanceof Socket) {
      socket.setNoDelay(true);
      socket.setTimeout(0);
    }
    const { wanted } = request;
    const { id, signal: ending } = session;
    const acceptance = { request: incoming, socket, head, protocol, wanted, limits, session: id, ending };
    let connection: RemoteCommandConnection;
    try {
      // A client that did not wait for the end of the checks.
      if (socket.destroyed) throw new SessionEnded('client_gone', 'the client left before the upgrade');
      connection = transport === 'websocket' ? await webSockets.accept(acceptance) : await acceptSpdy(acceptance);
    } catch (cause) {
      const end = session.failToOpen(cause instanceof SessionEnded ? cause.endReason : 'protocol_error');
      sessionLog?.ended({ ...session.fields, ...end });
      log.info('client did not complete the upgrade', {
        session: session.id,
        ...container.ref,
        protocol: protocol.name,
        error: String(cause),
      });
      return;
    }
    return this.#run(upgrade, connection);
  }

  async #run(upgrade: AdmittedUpgrade, connection: RemoteCommandConnection): Promise<void> {
    const { sessionLog, log } = this.#options;
    const { request, container, session } = upgrade;
    const { command, wanted, auditId } = request;
    const env = auditId === undefined ? [] : [`${AUDIT_ID_VARIABLE}=${auditId}`];
    log.info('session started', loggedFields(session));
    return session.run({
      container,
      spec: { command, tty: wanted.tty, env },
      connection,
      onOutcome: (end, outcome) => {
        sessionLog?.ended({ ...session.fields, ...end });
        const fields = loggedFields(session);
        const { reason, exitCode, durationMs } = end;
        if (outcome.kind === 'exited') {
          log.info('session ended', { ...fields, reason, exitCode, durationMs });
          return;
        }
        const { error } = outcome;
        if (error.code === 'Internal' && !(error.cause instanceof SessionEnded)) {
          log.error('session failed unexpectedly', { session: session.id, error: error.stack }); // a mistake of ours
        }
        // The text of a start failure quotes the command, which is not for the log.
        const told = reason === 'start_failed' ? {} : { error: error.message };
        log.info('session ended', { ...fields, reason, ...told, durationMs });
      },
    });
  }
}

/** What our own log says of a session. */
function loggedFields({ fields }: Session): Pick<SessionFields, LoggedField> {
  const { session, user, namespace, pod, container, transport, protocol, tty } = fields;
  return { session, user, namespace, pod, container, transport, protocol, tty };
}

/** What the session log says of a session from its start to its end. */
function recordOf(
  attempt: Attempt,
  { caller, request, container }: AdmittedExec,
  { transport, protocol }: Negotiated,
): SessionFields {
  return {
    session: randomUUID(),
    ...callerFields(attempt, caller),
    ...container.ref,
    podUid: container.podUid,
    containerId: container.containerId,
    command: request.command,
    tty: request.wanted.tty,
    transport,
    protocol: protocol.name,
  };
}

/**
 * Whether an upgrade is answered as one. Clients offer upgrades they can do without, such as h2c, with requests for any path;
 * only on an exec path, where nothing works without, is such an offer refused.
 */
export function takesUpgrade(incoming: IncomingMessage): boolean {
  return transportOf(incoming) !== undefined || isExecPath(pathOf(incoming));
}

/**
 * To be called once: every other session waits for it.
 *
 * @throws {ExecletError} BadExecRequest for so many parameters that they would take a tenth of a second, and ten megabytes
 */
function queryOf({ url = '' }: IncomingMessage): URLSearchParams {
  const mark = url.indexOf('?');
  let parameters = 1;
  for (let at = url.indexOf('&', mark); at >= 0; at = url.indexOf('&', at + 1)) parameters += 1;
  if (parameters > MAX_PARAMETERS) {
    throw new ExecletError('BadExecRequest', `the query has more than ${MAX_PARAMETERS} parameters`);
  }
  return new URLSearchParams(mark < 0 ? '' : url.slice(mark));
}

/** WebSocket is looked for before SPDY, both without regard to case, as in Kubernetes. Undefined for any other upgrade. */
function transportOf({ headers }: IncomingMessage): Transport | undefined {
  const upgrade = (headers.upgrade ?? '').toLowerCase();
  if (!(headers.connection ?? '').toLowerCase().includes('upgrade')) return undefined;
  if (upgrade === 'websocket') return 'websocket';
  return upgrade.includes('spdy/3.1') ? 'spdy' : undefined;
}

function negotiate(incoming: IncomingMessage, transport: Transport | undefined): Negotiated {
  const { headers } = incoming;
  if (transport === 'websocket') {
    checkWebSocketHandshake(incoming);
    return { transport, protocol: negotiateWebSocket(protocolsOf(headers['sec-websocket-protocol'])) };
  }
  if (transport === 'spdy') {
    return { transport, protocol: negotiateSpdy(protocolsOf(headerText(headers['x-stream-protocol-version']))) };
  }
  throw new ExecletError(
    'BadExecRequest',
    `unable to upgrade to ${headers.upgrade ?? 'nothing'}: this server speaks SPDY/3.1 and websocket`,
  );
}

function headerText(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header.join(',') : header;
}
