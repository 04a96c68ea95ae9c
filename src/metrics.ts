import { Counter, Gauge, Registry } from 'prom-client';
import { VERSION } from './version.ts';

/** How far a request had come when it was refused. */
const REJECTIONS = {
  authenticate: [401, 403, 503],
  request: [400, 404, 405, 501],
  authorize: [403, 503],
  resolve: [400, 404, 409, 503],
  negotiate: [400, 403, 405],
  limit: [429, 503],
  record: [503],
} as const;
export type RejectionStage = keyof typeof REJECTIONS;
const FILES = ['tls_certificate', 'client_ca', 'requestheader_client_ca', 'token_auth', 'authorization_rules'] as const;
/** A file that is read again when it changes. */
export type ReloadedFile = (typeof FILES)[number];

/** Every metric, declared once. Label sets are closed and small: never a pod, user, session or command. */
export type Metrics = ReturnType<typeof createMetrics>;

export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];

  const rejected = new Counter({
    name: 'execlet_rejected_total',
    help: 'Requests that were refused before they were served, by the check that refused them and the HTTP status.',
    labelNames: ['stage', 'code'] as const,
    registers,
  });
  const reviews = new Counter({
    name: 'execlet_access_reviews_total',
    help: 'Answers about callers by the API server, or from what it has answered before.',
    labelNames: ['kind', 'result'] as const,
    registers,
  });
  const auditRecords = new Counter({
    name: 'execlet_audit_records_total',
    help: 'Records of the session log.',
    labelNames: ['result'] as const,
    registers,
  });
  const fileReloads = new Counter({
    name: 'execlet_file_reloads_total',
    help: 'Times that a file was read again because it had changed; after a failure what it held before goes on being used.',
    labelNames: ['file', 'result'] as const,
    registers,
  });
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

  for (const [stage, codes] of Object.entries(REJECTIONS)) for (const code of codes) rejected.inc({ stage, code }, 0);
  for (const kind of ['token', 'access']) {
    for (const result of ['allowed', 'denied', 'error', 'cached']) reviews.inc({ kind, result }, 0);
  }
  for (const result of ['written', 'dropped', 'failed']) auditRecords.inc({ result }, 0);
  for (const file of FILES) for (const result of ['success', 'failure']) fileReloads.inc({ file, result }, 0);
  buildInfo.set({ version: VERSION, node_version: process.version }, 1);

  return { registry, rejected, reviews, auditRecords, fileReloads, certificateExpiry };
}
