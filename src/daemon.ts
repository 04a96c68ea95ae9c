import { isLoopback, isOpen, usesTls } from './config/access-settings.ts';
import { bindFailure } from './config/bind-address.ts';
import type { Settings } from './config/schema.ts';
import { orSettingsError } from './config/settings-error.ts';
import { openAccess, reportReload, type Access } from './daemon-access.ts';
import { ContainerWatch } from './docker/container-watch.ts';
import { DockerExecHandler } from './docker/docker-exec.ts';
import { Engine } from './docker/engine.ts';
import { ExecExits } from './docker/exec-exits.ts';
import { ProcessReaper } from './docker/process-reaper.ts';
import { HOST_PROCESSES } from './docker/process-table.ts';
import { TailBudget } from './docker/tail-budget.ts';
import { ExecletError } from './errors.ts';
import { HandlerRegistry } from './exec/handler-registry.ts';
import { SessionLog } from './exec/session-log.ts';
import type { SetupPhase } from './exec/session.ts';
import { SessionTable } from './exec/session-table.ts';
import { DEFAULT_CERT_DIR } from './files/cert-dir.ts';
import { createKubeApi } from './kubeapi/router.ts';
import type { Logger } from './log.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { VanishedHosts } from './remotecommand/vanished-hosts.ts';
import { WebSocketAcceptor } from './remotecommand/websocket.ts';
import { expose, type Exposition } from './server/exposition.ts';
import { Heartbeat } from './server/health.ts';
import { Refusals } from './server/refusals.ts';
import { listenForMetrics, type MetricsListener, type MetricsListenerOptions } from './server/metrics-listener.ts';
import { createRoutes } from './server/routes.ts';
import { listen } from './server/server.ts';
import { TlsCredentials } from './server/tls.ts';
import { ExecService } from './server/upgrade.ts';
import { within } from './within.ts';

const HIGH_WATER_MARK_BYTES = 256 * 1024;
/** Of a finished command's output, for clients that are slow: about 1.3 MB can still come from the Engine (20.10 and 28). */
const TAIL_LIMITS = { bytesPerSession: 4 * 1024 * 1024, bytesInAll: 256 * 1024 * 1024 };
/** For a peer to close once it has been sent everything. */
const CLOSE_TIMEOUT_MS = 30_000;
/** For the Engine's first list, before the daemon says that it is ready without it. */
const FIRST_LIST_TIMEOUT_MS = 2_000;
/** For the clients to take their output and Status when the daemon stops; one that does not may read its end as a success. */
const DELIVERY_AT_STOP_MS = 10_000;
/** For what the daemon does when it stops beside waiting: answers of the Engine, looks at processes. */
const STOP_SLACK_MS = 30_000;

/** Node's timers fire at once for anything longer. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** A daemon that listens. */
export interface Daemon {
  readonly address: string;
  readonly port: number;
  /** For SIGHUP: reads every file again that is read when it changes, and opens the session log anew. Never rejects. */
  reload(): Promise<void>;
  /**
   * Admits nothing new, waits for the sessions, ends the rest with a Status, and resolves when all is closed and nothing of them is
   * left in the containers.
   */
  stop(): Promise<void>;
}

/**
 * Puts the parts together and listens. The Engine need not answer yet: it is waited for.
 *
 * Rejects with the listen error (EADDRINUSE, EACCES …), or with one line for a file that cannot be used.
 */
export async function startDaemon({ settings, log }: { settings: Settings; log: Logger }): Promise<Daemon> {
  const metrics = createMetrics();
  let tls: TlsCredentials | undefined; // a CA file may change before there is any
  const access = await openAccess({
    settings,
    metrics,
    log,
    onClientAuthorities: () => tls?.setClientAuthorities(access.clientAuthorities()),
  });
  if (usesTls(settings)) {
    tls = await openTls({ settings, access, metrics, log });
    tls.setClientAuthorities(access.clientAuthorities()); // what has changed meanwhile
  }
  const sessionLog = await openSessionLog({ settings, metrics, log });
  const engine = new Engine({
    endpoint: settings.dockerEndpoint,
    timeoutMs: settings.engineTimeoutMs,
    onAnswer: (operation, seconds) => metrics.engineRequests[operation].observe(seconds),
  });
  const exits = new ExecExits();
  const tails = new TailBudget(TAIL_LIMITS);
  const registry = new HandlerRegistry();
  const reaper = settings.onDisconnect === 'terminate' ? openReaper({ engine, settings, metrics, log }) : undefined;
  const watch = new ContainerWatch({
    engine,
    registry,
    exits,
    schemes: settings.namingSchemes,
    handlerFor: containerId =>
      new DockerExecHandler({
        engine,
        exits,
        containerId,
        highWaterMarkBytes: HIGH_WATER_MARK_BYTES,
        tails,
        drain: { quietMs: settings.outputDrainQuietMs, limitMs: settings.outputDrainLimitMs },
        heldBack: metrics.heldBack,
        reaper,
        log,
      }),
    onRestart: () => metrics.eventStreamRestarts.inc(),
    log,
  });

  let stopping = false;
  const engineProblem = (): string | undefined =>
    watch.engineAnswers ? undefined : `the Engine at ${settings.dockerEndpoint.text} does not answer`;
  const registryProblem = (): string | undefined =>
    watch.inSync ? undefined : (engineProblem() ?? "the Engine's containers are being listed");
  const stopProblem = (): string | undefined => (stopping ? 'the daemon is stopping' : undefined);
  const checkServing = (): void => {
    const problem = stopProblem() ?? registryProblem();
    if (problem !== undefined) throw new ExecletError('RuntimeUnavailable', problem);
  };
  const heartbeat = new Heartbeat();
  const refusals = new Refusals({
    log,
    sessionLog,
    rejected: (stage, code) => metrics.rejected.inc({ stage, code }),
  });
  const { streamingConnectionIdleTimeoutMs: idleTimeoutMs, maxSessionDurationMs: maxDurationMs } = settings;
  const onPhase = (phase: SetupPhase, ms: number): void => metrics.sessionSetup[phase].observe(ms / 1_000);
  const sessions = new SessionTable({
    admission: settings,
    limits: { idleTimeoutMs, maxDurationMs },
    onPhase,
    onEnded: ({ fields, outcome, exitSource }) => {
      if (outcome === undefined) return;
      const { transport, protocol } = fields;
      const { reason, durationMs, exitCode } = outcome;
      metrics.sessionEnded({ transport, protocol, reason, durationMs, exitCode, exitSource });
    },
  });
  const exec = new ExecService({
    access: access.control,
    registry,
    sessions,
    webSockets: new WebSocketAcceptor({ closeTimeoutMs: idleTimeoutMs + CLOSE_TIMEOUT_MS }),
    limits: {
      highWaterMarkBytes: HIGH_WATER_MARK_BYTES,
      streamCreationTimeoutMs: settings.streamCreationTimeoutMs,
      deliveryTimeoutMs: idleTimeoutMs,
      closeTimeoutMs: CLOSE_TIMEOUT_MS,
      keepaliveIntervalMs: settings.keepaliveIntervalMs,
      onKeepalive: result => metrics.keepalive[result].inc(),
      vanishedHosts: new VanishedHosts({ intervalMs: settings.keepaliveIntervalMs }),
    },
    checkServing,
    onPhase,
    refusals,
    sessionLog,
    log,
  });
  const scrape = (accept: string | undefined): Promise<Exposition> => {
    metrics.engineUp.set(watch.engineAnswers ? 1 : 0);
    metrics.setHandlers(registry.list());
    metrics.setLive([...sessions.live].map(({ fields }) => fields));
    Object.assign(metrics.relayedBytes, sessions.relayedBytes());
    return expose(metrics.registry, accept);
  };
  const routes = createRoutes({
    access: access.control,
    exec,
    refusals,
    scrape,
    kubeApi: createKubeApi({ registry, nodeName: settings.nodeName, checkServing }),
    sessions,
    health: {
      liveness: [heartbeat.check],
      readiness: [
        { name: 'engine', problem: engineProblem },
        { name: 'registry', problem: registryProblem },
        { name: 'draining', problem: stopProblem },
      ],
    },
  });
  const { address, port, keepaliveIntervalMs, maxConnections } = settings;
  const server = await listen({
    address,
    port,
    loopbackOnly: isLoopback(address),
    keepaliveIntervalMs,
    tls,
    maxConnections,
    routes,
    exec,
    refusals,
  });
  const metricsListener = await openMetricsListener({ settings, scrape, log }).catch((cause: unknown) => {
    server.close();
    throw cause;
  });
  if (isOpen(settings)) {
    log.warn(
      'no authentication: every user and process that can reach this address may run commands in every container',
      { address: server.address, port: server.port },
    );
  }
  // Whoever waits for the ready line finds the containers there, where the Engine answers at all.
  await within(FIRST_LIST_TIMEOUT_MS, watch.start());

  return {
    address: server.address,
    port: server.port,
    reload: async () => {
      await Promise.all([access.reload(), tls?.reloadNow(), sessionLog?.reopen()]);
    },
    stop: async () => {
      stopping = true;
      const { drainTimeoutMs: timeoutMs, killGracePeriodMs } = settings;
      if (sessions.size > 0) log.info('waiting for sessions to end', { sessions: sessions.size, timeoutMs });
      const untold = await sessions.drain({ timeoutMs, deliveryMs: DELIVERY_AT_STOP_MS });
      if (untold > 0) log.warn('clients have not been told the end of their sessions', { sessions: untold });
      server.close();
      server.destroy();
      // What the sessions have left in their containers is being ended still.
      await within(Math.min(2 * killGracePeriodMs + STOP_SLACK_MS, MAX_TIMER_MS), sessions.whenEmpty());
      watch.stop();
      heartbeat.stop();
      tls?.close();
      access.close();
      await sessionLog?.close();
      metricsListener?.close(); // last, so that the end of the sessions can be seen
    },
  };
}

function openReaper({ engine, settings, metrics, log }: PartOptions & { engine: Engine }): ProcessReaper {
  return new ProcessReaper({
    engine,
    processes: HOST_PROCESSES,
    gracePeriodMs: settings.killGracePeriodMs,
    onKilled: signal => metrics.processesKilled[signal].inc(),
    onLeft: cause => metrics.processesLeft[cause].inc(),
    log,
  });
}

interface PartOptions {
  readonly settings: Settings;
  readonly metrics: Metrics;
  readonly log: Logger;
}

async function openTls({ settings, access, metrics, log }: PartOptions & { access: Access }): Promise<TlsCredentials> {
  const { tlsCertFile: certFile, tlsPrivateKeyFile: keyFile, certDir = DEFAULT_CERT_DIR, nodeName, address } = settings;
  let tls: TlsCredentials | undefined = undefined; // its files are watched from the first look on
  const tell = (): void => {
    if (tls === undefined) return;
    metrics.certificateExpiry.set(tls.certificate.expiresAt.getTime() / 1_000);
    const problem = tls.validityProblem();
    if (problem !== undefined) log.warn('the certificate is not valid', { problem });
  };
  const opened = TlsCredentials.open({
    source: certFile === undefined || keyFile === undefined ? { certDir, nodeName, address } : { certFile, keyFile },
    minVersion: settings.tlsMinVersion,
    ciphers: settings.tlsCipherSuites,
    clientAuthorities: access.clientAuthorities(),
    onReload: (result, error) => {
      reportReload({ metrics, log }, 'tls_certificate', result, error);
      tell();
    },
  });
  tls = await orSettingsError(certFile === undefined ? '--cert-dir' : '--tls-cert-file', opened);
  tell();
  if (tls.selfSigned) {
    log.warn(
      'serving a self-signed certificate: clients must be given it to trust, or a certificate of a CA they know',
      {
        certDir,
        fingerprint: tls.certificate.fingerprint256,
      },
    );
  }
  return tls;
}

async function openMetricsListener({
  settings: { metricsBindAddress: address },
  scrape,
  log,
}: Pick<PartOptions, 'settings' | 'log'> & Pick<MetricsListenerOptions, 'scrape'>): Promise<
  MetricsListener | undefined
> {
  if (address === undefined) return undefined;
  try {
    const listener = await listenForMetrics({ ...address, scrape });
    log.info('serving metrics', { address: listener.address, port: listener.port });
    return listener;
  } catch (cause) {
    const flag = '--metrics-bind-address';
    throw new Error(bindFailure(cause, address, { host: flag, port: flag }), { cause });
  }
}

async function openSessionLog({ settings, metrics, log }: PartOptions): Promise<SessionLog | undefined> {
  const { sessionLog: target, sessionLogFailure: failure, sessionLogRedact: redact = [] } = settings;
  if (target === undefined) return undefined;
  const opened = SessionLog.open({
    target,
    failure,
    redact,
    onRecord: result => metrics.auditRecords.inc({ result }),
    onProblem: error => log.error('the session log cannot be written', { error: error.message }),
    onRecovered: () => log.info('the session log is written again'),
  });
  return orSettingsError('--session-log', opened);
}
