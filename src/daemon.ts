import type { Settings } from './config/schema.ts';
import { ContainerWatch } from './docker/container-watch.ts';
import { DockerExecHandler } from './docker/docker-exec.ts';
import { Engine } from './docker/engine.ts';
import { ExecExits } from './docker/exec-exits.ts';
import { TailBudget } from './docker/tail-budget.ts';
import { ExecletError } from './errors.ts';
import { SessionEnded } from './exec/end-reason.ts';
import { HandlerRegistry } from './exec/handler-registry.ts';
import { SessionTable } from './exec/session-table.ts';
import { createKubeApi } from './kubeapi/router.ts';
import type { Logger } from './log.ts';
import { WebSocketAcceptor } from './remotecommand/websocket.ts';
import { createRoutes } from './server/routes.ts';
import { listen } from './server/server.ts';
import { ExecService } from './server/upgrade.ts';
import { within } from './within.ts';

const HIGH_WATER_MARK_BYTES = 256 * 1024;
/** Of a finished command's output, for clients that are slow: about 1.3 MB can still come from the Engine (20.10 and 28). */
const TAIL_LIMITS = { bytesPerSession: 4 * 1024 * 1024, bytesInAll: 256 * 1024 * 1024 };
/** For a client to take the rest of its output: the kubelet's default for idle streaming connections. */
const DELIVERY_TIMEOUT_MS = 4 * 60 * 60 * 1000;
/** For a peer to close once it has been sent everything. */
const CLOSE_TIMEOUT_MS = 30_000;
/** For the Engine's first list, before the daemon says that it is ready without it. */
const FIRST_LIST_TIMEOUT_MS = 2_000;
/** For the clients to take their output and Status when the daemon stops; one that does not may read its end as a success. */
const STOP_TIMEOUT_MS = 10_000;

/** A daemon that listens. */
export interface Daemon {
  readonly address: string;
  readonly port: number;
  /** Accepts nothing new, ends every session with a Status, and resolves when all is closed. */
  stop(): Promise<void>;
}

/**
 * Puts the parts together and listens. The Engine need not answer yet: it is waited for.
 *
 * Rejects with the listen error (EADDRINUSE, EACCES …), or when a TLS file cannot be used.
 */
export async function startDaemon({ settings, log }: { settings: Settings; log: Logger }): Promise<Daemon> {
  const engine = new Engine({ endpoint: settings.dockerEndpoint, timeoutMs: settings.engineTimeoutMs });
  const exits = new ExecExits();
  const tails = new TailBudget(TAIL_LIMITS);
  const registry = new HandlerRegistry();
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
        log,
      }),
    log,
  });

  let stopping = false;
  const engineProblem = (): string | undefined =>
    watch.inSync ? undefined : `the Engine at ${settings.dockerEndpoint.text} does not answer`;
  const checkServing = (): void => {
    const problem = stopping ? 'the daemon is stopping' : engineProblem();
    if (problem !== undefined) throw new ExecletError('RuntimeUnavailable', problem);
  };
  const sessions = new SessionTable();
  const exec = new ExecService({
    registry,
    sessions,
    webSockets: new WebSocketAcceptor({ closeTimeoutMs: DELIVERY_TIMEOUT_MS + CLOSE_TIMEOUT_MS }),
    limits: {
      highWaterMarkBytes: HIGH_WATER_MARK_BYTES,
      streamCreationTimeoutMs: settings.streamCreationTimeoutMs,
      deliveryTimeoutMs: DELIVERY_TIMEOUT_MS,
      closeTimeoutMs: CLOSE_TIMEOUT_MS,
    },
    checkServing,
    log,
  });
  const routes = createRoutes({
    exec,
    kubeApi: createKubeApi({ registry, nodeName: settings.nodeName, checkServing }),
    readiness: [
      { name: 'engine', problem: engineProblem },
      { name: 'stopping', problem: () => (stopping ? 'the daemon is stopping' : undefined) },
    ],
  });
  const { address, port, tlsCertFile: certFile, tlsPrivateKeyFile: keyFile } = settings;
  const tls = certFile === undefined || keyFile === undefined ? undefined : { certFile, keyFile };
  const server = await listen({ address, port, tls, routes, exec });
  log.warn(
    'no authentication: every user and process that can reach this address may run commands in every container',
    {
      address: server.address,
      port: server.port,
    },
  );
  // Whoever waits for the ready line finds the containers there, where the Engine answers at all.
  await within(FIRST_LIST_TIMEOUT_MS, watch.start());

  return {
    address: server.address,
    port: server.port,
    stop: async () => {
      stopping = true;
      server.close();
      await within(STOP_TIMEOUT_MS, sessions.endAll(new SessionEnded('drain', 'execlet is stopping')));
      server.destroy();
      watch.stop();
    },
  };
}
