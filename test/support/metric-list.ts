import assert from 'node:assert/strict';
import type { Sample } from './scrape.ts';

/** One metric as a scrape must show it. */
export interface ListedMetric {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  /** Each label with every value that it can have; undefined where that is Node's business. */
  readonly labels?: Readonly<Record<string, readonly string[] | undefined>>;
  /** Of a histogram, without the last one. */
  readonly buckets?: readonly number[];
  /** Label values that go together, where not all do: as many series as there are rows. */
  readonly rows?: readonly Readonly<Record<string, string>>[];
  /** Its series are there only when there is something to tell. */
  readonly startsEmpty?: boolean;
}

const SPDY = ['v4.channel.k8s.io', 'v3.channel.k8s.io', 'v2.channel.k8s.io', 'channel.k8s.io'];
const WEBSOCKET = [
  'v5.channel.k8s.io',
  'v4.channel.k8s.io',
  'v4.base64.channel.k8s.io',
  'channel.k8s.io',
  'base64.channel.k8s.io',
  'none',
];
const REASONS = [
  'exit',
  'client_gone',
  'idle',
  'max_duration',
  'admin',
  'drain',
  'container_gone',
  'engine_gone',
  'output_lost',
  'protocol_error',
  'start_failed',
];
const REJECTIONS = {
  authenticate: [401, 403, 503],
  request: [400, 404, 405, 501],
  authorize: [403, 503],
  resolve: [400, 404, 409, 503],
  limit: [429, 503],
  negotiate: [400, 403, 405],
  record: [503],
};

/** Every metric of ours, written down a second time: what dashboards, alerts and readers of the documentation rely on. */
export const EXECLET_METRICS: Readonly<Record<string, ListedMetric>> = {
  execlet_sessions_active: {
    type: 'gauge',
    help: 'Sessions that are live.',
    labels: { transport: ['spdy', 'websocket'], tty: ['true', 'false'] },
  },
  execlet_sessions_total: {
    type: 'counter',
    help: 'Sessions that have ended, by why they did.',
    labels: { transport: ['spdy', 'websocket'], protocol: [...SPDY, ...WEBSOCKET], reason: REASONS },
    rows: REASONS.flatMap(reason => [
      ...SPDY.map(protocol => ({ transport: 'spdy', protocol, reason })),
      ...WEBSOCKET.map(protocol => ({ transport: 'websocket', protocol, reason })),
    ]),
    startsEmpty: true,
  },
  execlet_session_duration_seconds: {
    type: 'histogram',
    help: 'How long sessions were, from their admission to their end.',
    buckets: [1, 5, 15, 60, 300, 900, 3600, 14400, 43200, 86400],
  },
  execlet_session_setup_seconds: {
    type: 'histogram',
    help: 'What a client waits for before its command answers, phase by phase.',
    labels: { phase: ['authenticate', 'authorize', 'accept', 'create', 'start', 'first_byte'] },
    buckets: [0.0005, 0.002, 0.005, 0.02, 0.05, 0.1, 0.25, 1, 5, 30],
  },
  execlet_exec_exit_codes_total: {
    type: 'counter',
    help: 'Exit codes of commands whose client waited for them; unknown where the Engine never told.',
    labels: { class: ['0', '1_125', '126', '127', '128_up', 'unknown'] },
  },
  execlet_exec_exit_source_total: {
    type: 'counter',
    help: 'Where exit codes were learned: from an event of the Engine, by inspection, or nowhere.',
    labels: { source: ['event', 'inspect', 'unknown'] },
  },
  execlet_relayed_bytes_total: {
    type: 'counter',
    help: 'Bytes that were relayed: input to commands, output to clients.',
    labels: { direction: ['input', 'output'] },
  },
  execlet_backpressure_seconds_total: {
    type: 'counter',
    help: 'Time, added up over sessions, in which input was held back for a command, or output for a client, that was full.',
    labels: { direction: ['input', 'output'] },
  },
  execlet_rejected_total: {
    type: 'counter',
    help: 'Requests that were refused before they were served, by the check that refused them and the HTTP status.',
    labels: {
      stage: Object.keys(REJECTIONS),
      code: [...new Set(Object.values(REJECTIONS).flat())].map(String),
    },
    rows: Object.entries(REJECTIONS).flatMap(([stage, codes]) => codes.map(code => ({ stage, code: String(code) }))),
  },
  execlet_keepalive_total: {
    type: 'counter',
    help: 'Pings to clients: answered, missed, and those after which the session was ended.',
    labels: { result: ['answered', 'missed', 'ended'] },
  },
  execlet_processes_killed_total: {
    type: 'counter',
    help: 'Signals to what sessions had left running when they ended otherwise than by an exit.',
    labels: { signal: ['SIGHUP', 'SIGTERM', 'SIGKILL'] },
  },
  execlet_processes_left_total: {
    type: 'counter',
    help: 'Processes that sessions left running and execlet could not, or would not, end, by why.',
    labels: {
      cause: ['new_session', 'remote_engine', 'no_host_pid', 'not_permitted', 'unknown', 'survived'],
    },
  },
  execlet_engine_request_seconds: {
    type: 'histogram',
    help: 'How long the Engine took to answer, or to fail to.',
    labels: {
      operation: ['create', 'start', 'inspect', 'resize', 'list', 'ping', 'version', 'events', 'top'],
    },
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10],
  },
  execlet_engine_up: {
    type: 'gauge',
    help: '1 while the event stream of the Engine is up and its containers are known, else 0.',
  },
  execlet_engine_event_stream_restarts_total: {
    type: 'counter',
    help: "Times that the Engine's event stream came back after it had been interrupted.",
  },
  execlet_handlers: {
    type: 'gauge',
    help: 'Running containers that commands can be run in, by the naming scheme that named them.',
    labels: { scheme: ['kubernetes', 'compose', 'plain'] },
  },
  execlet_access_reviews_total: {
    type: 'counter',
    help: 'Answers about callers by the API server, or from what it has answered before.',
    labels: { kind: ['token', 'access'], result: ['allowed', 'denied', 'error', 'cached'] },
  },
  execlet_audit_records_total: {
    type: 'counter',
    help: 'Records of the session log.',
    labels: { result: ['written', 'dropped', 'failed'] },
  },
  execlet_file_reloads_total: {
    type: 'counter',
    help: 'Times that a file was read again because it had changed; after a failure what it held before goes on being used.',
    labels: {
      file: ['tls_certificate', 'client_ca', 'requestheader_client_ca', 'token_auth', 'authorization_rules'],
      result: ['success', 'failure'],
    },
  },
  execlet_tls_certificate_expiry_timestamp_seconds: {
    type: 'gauge',
    help: 'When the certificate that is being served expires; 0 without TLS.',
  },
  execlet_build_info: {
    type: 'gauge',
    help: 'Always 1; the labels say what runs.',
    labels: { version: undefined, node_version: undefined },
    rows: [{}],
  },
};

/** prom-client's about Node and its process: the type and the labels of each. Their values differ by version and machine. */
export const NODE_METRICS: Readonly<Record<string, { readonly type: string; readonly labels?: readonly string[] }>> = {
  process_cpu_user_seconds_total: { type: 'counter' },
  process_cpu_system_seconds_total: { type: 'counter' },
  process_cpu_seconds_total: { type: 'counter' },
  process_start_time_seconds: { type: 'gauge' },
  process_resident_memory_bytes: { type: 'gauge' },
  process_virtual_memory_bytes: { type: 'gauge' },
  process_heap_bytes: { type: 'gauge' },
  process_open_fds: { type: 'gauge' },
  process_max_fds: { type: 'gauge' },
  nodejs_eventloop_lag_seconds: { type: 'gauge' },
  nodejs_eventloop_lag_min_seconds: { type: 'gauge' },
  nodejs_eventloop_lag_max_seconds: { type: 'gauge' },
  nodejs_eventloop_lag_mean_seconds: { type: 'gauge' },
  nodejs_eventloop_lag_stddev_seconds: { type: 'gauge' },
  nodejs_eventloop_lag_p50_seconds: { type: 'gauge' },
  nodejs_eventloop_lag_p90_seconds: { type: 'gauge' },
  nodejs_eventloop_lag_p99_seconds: { type: 'gauge' },
  nodejs_active_resources: { type: 'gauge', labels: ['type'] },
  nodejs_heap_size_total_bytes: { type: 'gauge' },
  nodejs_heap_size_used_bytes: { type: 'gauge' },
  nodejs_external_memory_bytes: { type: 'gauge' },
  nodejs_heap_space_size_total_bytes: { type: 'gauge', labels: ['space'] },
  nodejs_heap_space_size_used_bytes: { type: 'gauge', labels: ['space'] },
  nodejs_heap_space_size_available_bytes: { type: 'gauge', labels: ['space'] },
  nodejs_version_info: { type: 'gauge', labels: ['version', 'major', 'minor', 'patch'] },
  nodejs_gc_duration_seconds: { type: 'histogram', labels: ['kind'] },
};

/** How many series the listed metric has once each of its labels has been seen. */
export function seriesOf({ labels = {}, rows, buckets }: ListedMetric): number {
  const sets = rows?.length ?? Object.values(labels).reduce((product, values) => product * (values?.length ?? 1), 1);
  return sets * (buckets === undefined ? 1 : buckets.length + 3); // the last bucket, sum and count
}

/** Throws unless the sample's labels are those of the metric, with values that are listed. */
export function checkLabels(name: string, { labels = {}, rows, buckets }: ListedMetric, sample: Sample): void {
  const { le, ...own } = sample.labels;
  const isBucket = buckets !== undefined && sample.name.endsWith('_bucket');
  assert.deepEqual(Object.keys(own).sort(), Object.keys(labels).sort(), name);
  for (const [label, value] of Object.entries(own)) {
    assert.ok(labels[label]?.includes(value) ?? true, `${name}{${label}="${value}"} is not listed`);
  }
  if (rows !== undefined) {
    const isRow = rows.some(row => Object.entries(row).every(([label, value]) => own[label] === value));
    assert.ok(isRow, `${name}${JSON.stringify(own)} is not listed`);
  }
  if (isBucket) assert.ok(le === '+Inf' || buckets.includes(Number(le)), `${name}: le="${le ?? ''}"`);
  else assert.equal(le, undefined);
}
