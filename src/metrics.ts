import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { VERSION } from './version.ts';

/** How far a request had come when it was refused. */
const REJECTIONS = {
  authenticate: [401, 403, 503],
  request: [400, 404, 405, 501],
  authorize: [403, 503],
  resolve: [400, 404, 409, 503],
  limit: [429, 503],
  negotiate: [400, 403, 405],
  record: [503],
} as const;
export type RejectionStage = keyof typeof REJECTIONS;

const FILES = ['tls_certificate', 'client_ca', 'requestheader_client_ca', 'token_auth', 'authorization_rules'] as const;
/** A file that is read again when it changes. */
export type ReloadedFile = (typeof FILES)[number];

const SETUP_PHASES = ['authenticate', 'authorize', 'accept', 'create', 'start', 'first_byte'] as const;
const TRANSPORTS = ['spdy', 'websocket'] as const;
/** Of a WebSocket client that names no subprotocol. */
const NO_PROTOCOL = 'none';

const EXIT_CLASSES = ['0', '1_125', '126', '127', '128_up', 'unknown'] as const;
const EXIT_SOURCES = ['event', 'inspect', 'unknown'] as const;
const DIRECTIONS = ['input', 'output'] as const;
const KEEPALIVE_RESULTS = ['answered', 'missed', 'ended'] as const;
const SIGNALS = ['SIGHUP', 'SIGTERM', 'SIGKILL'] as const;
const LEFT_CAUSES = ['new_session', 'remote_engine', 'no_host_pid', 'not_permitted', 'unknown', 'survived'] as const;

const ENGINE_OPERATIONS = ['create', 'start', 'inspect', 'resize', 'list', 'ping', 'version', 'events', 'top'] as const;
/** A call of the Engine's API: of exec create, exec start, exec inspect and exec resize only the verb. */
export type EngineOperation = (typeof ENGINE_OPERATIONS)[number];

const SCHEMES = ['kubernetes', 'compose', 'plain'] as const;

/** 1 s to 24 h. */
const SESSION_SECONDS = [1, 5, 15, 60, 300, 900, 3_600, 14_400, 43_200, 86_400];
/** 0.5 ms to 30 s. */
const SETUP_SECONDS = [0.0005, 0.002, 0.005, 0.02, 0.05, 0.1, 0.25, 1, 5, 30];
/** 1 ms to 10 s, which is what the Engine has for an answer unless the settings say otherwise. */
const ENGINE_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10];

/** Of prom-client's metrics about Node those that say what `nodejs_active_resources` says, in series of their own. */
const SAID_TWICE = [
  'nodejs_active_resources_total',
  'nodejs_active_handles',
  'nodejs_active_handles_total',
  'nodejs_active_requests',
  'nodejs_active_requests_total',
];

/**
 * Every metric, declared once, Node's own among them. Label sets are closed and small: never a pod, user, session or command.
 * Each starts at 0, so that its first rise is one; all but `sessions`, whose labels would make 110 series of which few are ever
 * seen.
 */
export type Metrics = ReturnType<typeof createMetrics>;

export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  for (const name of SAID_TWICE) registry.removeSingleMetric(name);

  const sessionsActive = new Gauge({
    name: 'execlet_sessions_active',
    help: 'Sessions that are live.',
    labelNames: ['transport', 'tty'] as const,
    registers,
  });
  const setLive = (live: readonly LiveSession[]): void => {
    for (const transport of TRANSPORTS) {
      for (const tty of [true, false]) {
        const count = live.filter(session => session.transport === transport && session.tty === tty).length;
        sessionsActive.set({ transport, tty: String(tty) }, count);
      }
    }
  };
  setLive([]);
  const sessions = new Counter({
    name: 'execlet_sessions_total',
    help: 'Sessions that have ended, by why they did.',
    labelNames: ['transport', 'protocol', 'reason'] as const,
    registers,
  });
  const sessionDuration = new Histogram({
    name: 'execlet_session_duration_seconds',
    help: 'How long sessions were, from their admission to their end.',
    buckets: SESSION_SECONDS,
    registers,
  });
  const sessionSetup = new Histogram({
    name: 'execlet_session_setup_seconds',
    help: 'What a client waits for before its command answers, phase by phase.',
    labelNames: ['phase'] as const,
    buckets: SETUP_SECONDS,
    registers,
  });
  const exitCodesByClass = new Counter({
    name: 'execlet_exec_exit_codes_total',
    help: 'Exit codes of commands whose client waited for them; unknown where the Engine never told.',
    labelNames: ['class'] as const,
    registers,
  });
  const exitSourcesBySource = new Counter({
    name: 'execlet_exec_exit_source_total',
    help: 'Where exit codes were learned: from an event of the Engine, by inspection, or nowhere.',
    labelNames: ['source'] as const,
    registers,
  });
  const exitCodes = countersOf(exitCodesByClass, EXIT_CLASSES);
  const exitSources = countersOf(exitSourcesBySource, EXIT_SOURCES);
  const relayedBytes = { input: 0, output: 0 };
  countDirections(
    {
      name: 'execlet_relayed_bytes_total',
      help: 'Bytes that were relayed: input to commands, output to clients.',
      registers,
    },
    direction => relayedBytes[direction],
  );
  const heldBack = { input: new HeldTime(), output: new HeldTime() };
  countDirections(
    {
      name: 'execlet_backpressure_seconds_total',
      help: 'Time, added up over sessions, in which input was held back for a command, or output for a client, that was full.',
      registers,
    },
    direction => heldBack[direction].seconds,
  );
  const rejected = new Counter({
    name: 'execlet_rejected_total',
    help: 'Requests that were refused before they were served, by the check that refused them and the HTTP status.',
    labelNames: ['stage', 'code'] as const,
    registers,
  });
  for (const [stage, codes] of Object.entries(REJECTIONS)) for (const code of codes) rejected.inc({ stage, code }, 0);
  const keepalive = new Counter({
    name: 'execlet_keepalive_total',
    help: 'Pings to clients: answered, missed, and those after which the session was ended.',
    labelNames: ['result'] as const,
    registers,
  });
  const processesKilled = new Counter({
    name: 'execlet_processes_killed_total',
    help: 'Signals to what sessions had left running when they ended otherwise than by an exit.',
    labelNames: ['signal'] as const,
    registers,
  });
  const processesLeft = new Counter({
    name: 'execlet_processes_left_total',
    help: 'Processes that sessions left running and execlet could not, or would not, end, by why.',
    labelNames: ['cause'] as const,
    registers,
  });
  const engineRequests = new Histogram({
    name: 'execlet_engine_request_seconds',
    help: 'How long the Engine took to answer, or to fail to.',
    labelNames: ['operation'] as const,
    buckets: ENGINE_SECONDS,
    registers,
  });
  const engineUp = new Gauge({
    name: 'execlet_engine_up',
    help: '1 while the event stream of the Engine is up and its containers are known, else 0.',
    registers,
  });
  const eventStreamRestarts = new Counter({
    name: 'execlet_engine_event_stream_restarts_total',
    help: "Times that the Engine's event stream came back after it had been interrupted.",
    registers,
  });
  const handlers = new Gauge({
    name: 'execlet_handlers',
    help: 'Running containers that commands can be run in, by the naming scheme that named them.',
    labelNames: ['scheme'] as const,
    registers,
  });
  const setHandlers = (containers: readonly { readonly scheme: string }[]): void => {
    for (const scheme of SCHEMES) {
      handlers.set({ scheme }, containers.filter(container => container.scheme === scheme).length);
    }
  };
  setHandlers([]);
  const reviews = new Counter({
    name: 'execlet_access_reviews_total',
    help: 'Answers about callers by the API server, or from what it has answered before.',
    labelNames: ['kind', 'result'] as const,
    registers,
  });
  for (const kind of ['token', 'access']) {
    for (const result of ['allowed', 'denied', 'error', 'cached']) reviews.inc({ kind, result }, 0);
  }
  const auditRecords = new Counter({
    name: 'execlet_audit_records_total',
    help: 'Records of the session log.',
    labelNames: ['result'] as const,
    registers,
  });
  for (const result of ['written', 'dropped', 'failed']) auditRecords.inc({ result }, 0);
  const fileReloads = new Counter({
    name: 'execlet_file_reloads_total',
    help: 'Times that a file was read again because it had changed; after a failure what it held before goes on being used.',
    labelNames: ['file', 'result'] as const,
    registers,
  });
  for (const file of FILES) for (const result of ['success', 'failure']) fileReloads.inc({ file, result }, 0);
  const certificateExpiry = new Gauge({
    name: 'execlet_tls_certificate_expiry_timestamp_seconds',
    help: 'When the certificate that is being served expires; 0 without TLS.',
    registers,
  });
  const buildInfo = new Gauge({
    name: 'execlet_build_info',
    help: 'Always 1; the labels say what runs.',
    labelNames: ['version', 'node_version'] as const,
    registers,
  });
  buildInfo.set({ version: VERSION, node_version: process.version }, 1);

  return {
    registry,
    /** All sessions that are live. */
    setLive,
    sessionEnded: ({ transport, protocol, reason, durationMs, exitCode, exitSource }: EndedSession): void => {
      sessions.inc({ transport, protocol: protocol === '' ? NO_PROTOCOL : protocol, reason });
      sessionDuration.observe(durationMs / 1_000);
      if (exitSource === undefined) return;
      exitSources[exitSource].inc();
      exitCodes[exitClassOf(exitCode)].inc();
    },
    sessionSetup: histogramsOf(sessionSetup, 'phase', SETUP_PHASES),
    /** What has been relayed so far; to be set before the metrics are read. */
    relayedBytes,
    heldBack,
    rejected,
    keepalive: countersOf(keepalive, KEEPALIVE_RESULTS),
    processesKilled: countersOf(processesKilled, SIGNALS),
    processesLeft: countersOf(processesLeft, LEFT_CAUSES),
    engineRequests: histogramsOf(engineRequests, 'operation', ENGINE_OPERATIONS),
    engineUp,
    eventStreamRestarts,
    /** All that there are. */
    setHandlers,
    reviews,
    auditRecords,
    fileReloads,
    certificateExpiry,
  };
}

interface LiveSession {
  readonly transport: (typeof TRANSPORTS)[number];
  readonly tty: boolean;
}

/** What is counted of a session that has ended. */
export interface EndedSession {
  readonly transport: (typeof TRANSPORTS)[number];
  /** As it was negotiated; empty where the client named none. */
  readonly protocol: string;
  /** An `EndReason`. */
  readonly reason: string;
  readonly durationMs: number;
  readonly exitCode?: number | undefined;
  /** Undefined where nobody waited for an exit code. */
  readonly exitSource: (typeof EXIT_SOURCES)[number] | undefined;
}

function exitClassOf(exitCode: number | undefined): (typeof EXIT_CLASSES)[number] {
  if (exitCode === undefined) return 'unknown';
  if (exitCode === 0) return '0';
  if (exitCode === 126) return '126';
  if (exitCode === 127) return '127';
  return exitCode < 126 ? '1_125' : '128_up';
}

/**
 * For how long, added up over all sessions, something was held back.
 *
 * An ongoing hold counts up to the moment of reading, without a timer: what is kept is how many there are, and since when.
 */
export class HeldTime {
  readonly #now: () => number;
  #holding = 0;
  #since = 0;
  #ms = 0;

  /** `now` is in milliseconds and never goes back. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** The holds of one session. */
  open(): Hold {
    let held = false;
    const turn = (to: boolean): void => {
      if (held === to) return;
      held = to;
      this.#add(to ? 1 : -1);
    };
    return { begin: () => turn(true), end: () => turn(false) };
  }

  get seconds(): number {
    this.#add(0);
    return this.#ms / 1_000;
  }

  #add(change: 1 | -1 | 0): void {
    const now = this.#now();
    this.#ms += this.#holding * (now - this.#since);
    this.#since = now;
    this.#holding += change;
  }
}

/** Either may be called at any time and any number of times; whoever opened it calls `end` last. */
export interface Hold {
  begin(): void;
  end(): void;
}

/** The counter of each value of the metric's only label, made once and at 0. */
function countersOf<Value extends string>(
  metric: Counter,
  values: readonly Value[],
): Readonly<Record<Value, Counter.Internal>> {
  return eachOf(values, value => {
    const counter = metric.labels(value);
    counter.inc(0);
    return counter;
  });
}

/** The same of a histogram. */
function histogramsOf<Label extends string, Value extends string>(
  metric: Histogram<Label>,
  label: Label,
  values: readonly Value[],
): Readonly<Record<Value, Histogram.Internal<Label>>> {
  return eachOf(values, value => {
    const labels: Partial<Record<Label, string>> = {};
    labels[label] = value;
    metric.zero(labels);
    return metric.labels(value);
  });
}

function eachOf<Value extends string, Child>(
  values: readonly Value[],
  childOf: (value: Value) => Child,
): Readonly<Record<Value, Child>> {
  return Object.fromEntries(values.map(value => [value, childOf(value)])) as Record<Value, Child>;
}

/** A counter of both directions that are counted elsewhere, by plain numbers; it takes them over when it is read. */
function countDirections(
  configuration: { readonly name: string; readonly help: string; readonly registers: Registry[] },
  read: (direction: (typeof DIRECTIONS)[number]) => number,
): void {
  new Counter({
    ...configuration,
    labelNames: ['direction'] as const,
    collect() {
      this.reset();
      for (const direction of DIRECTIONS) this.inc({ direction }, read(direction));
    },
  });
}
