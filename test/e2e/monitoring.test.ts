import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Credentials } from '../support/access.ts';
import { kubernetesLabels } from '../support/containers.ts';
import { Daemon, type LogLine } from '../support/daemon.ts';
import { startTestEngine, type TestEngine } from '../support/engine.ts';
import { readAlerts, readDashboard, RULES_FILE } from '../support/monitoring.ts';
import { checkRules, findPrometheus, lintScrape, Prometheus } from '../support/prometheus.ts';
import { execPath } from '../support/raw-exec.ts';
import { execOverSpdy } from '../support/spdy-client.ts';
import { StandInEngine, stdcopyFrame } from '../support/stand-in-engine.ts';
import { execOverWebSocket, WebSocketClient } from '../support/websocket-client.ts';

/** In place of every range of the rules and the dashboard, and several scrapes long. */
const RANGE = '10s';
const SETTLED_MS = 30_000;
/** What a machine that is busy may see without a fault. */
const SLOW_MACHINE = ['ExecletSetupSlow', 'ExecletEventLoopLag'];
const DAY_MS = 24 * 60 * 60 * 1000;
const STAND_IN_SESSIONS = 8;
const WEBSOCKET = 'v5.channel.k8s.io';
const ALICE = { Authorization: 'Bearer secret' };

const programs = await findPrometheus();
const credentials = await Credentials.make('monitoring');
const scraper = await credentials.user('prometheus');

let engine: TestEngine;
let standInEngine: StandInEngine;
/** With TLS, on the real Engine. */
let node: Daemon;
/** On an Engine whose faults we choose. */
let standIn: Daemon;
/** Its session log cannot be written, and its API server is not there. */
let cutOff: Daemon;
/** Stands between Prometheus and the first of them. */
let overheard: Overheard;
let prometheus: Prometheus;

before(async () => {
  engine = await startTestEngine();
  await engine.createContainer({ labels: kubernetesLabels({ namespace: 'default', pod: 'web', container: 'app' }) });
  standInEngine = await StandInEngine.start({
    play: (connection, exec) => {
      const [what] = exec.command;
      if (what === 'hang') return;
      connection.end(stdcopyFrame(1, 'hi\n'));
      if (what === 'tell') exec.sendExit(0);
    },
    inspect: ({ command: [what] }) => ({ Running: what === 'forget', ExitCode: what === 'forget' ? null : 0, Pid: 1 }),
  });
  const onMetrics = ['--metrics-bind-address', '127.0.0.1:0'];
  await writeCertificate(365 * DAY_MS);
  const inDirectory = (name: string): string => `${credentials.directory}/${name}`;
  [node, standIn, cutOff] = await Promise.all([
    Daemon.start({
      engine,
      args: [
        ...onMetrics,
        ...['--tls-cert-file', inDirectory('tls.crt'), '--tls-private-key-file', inDirectory('tls.key')],
        ...(await credentials.clientCertificates()),
        ...(await credentials.tokens(['secret,alice,1'])),
        ...['--authorization-mode', 'AlwaysAllow', '--session-log', inDirectory('sessions.log')],
      ],
    }),
    Daemon.start({ engine: standInEngine, args: [...onMetrics, '--max-sessions', String(STAND_IN_SESSIONS)] }),
    Daemon.start({
      engine: standInEngine,
      args: [
        ...onMetrics,
        ...['--token-auth-file', inDirectory('tokens.csv'), '--authorization-mode', 'AlwaysAllow'],
        ...['--authentication-token-webhook', '--kubeconfig', await credentials.file('kubeconfig', DEAD_API_SERVER)],
        ...['--session-log', '/dev/full', '--session-log-failure', 'refuse'],
      ],
    }),
  ]);
  const plain = await Promise.all([node, standIn, cutOff].map(metricsAddress));
  overheard = await overhear(plain[0] ?? '');
  prometheus = await Prometheus.start({
    programs,
    rules: shortened(await readFile(RULES_FILE, 'utf8')),
    scrapeConfigs: [
      { job_name: 'execlet', static_configs: [{ targets: plain }] },
      {
        job_name: 'over-tls',
        scheme: 'https',
        tls_config: {
          ca_file: await credentials.file('servers.crt', credentials.servers.certificate),
          cert_file: await credentials.file('prometheus.crt', scraper.cert),
          key_file: await credentials.file('prometheus.key', scraper.key),
        },
        static_configs: [{ targets: [`127.0.0.1:${node.port}`] }],
      },
      { job_name: 'overheard', static_configs: [{ targets: [overheard.address] }] },
    ],
  });
  await prometheus.untilHealthy(SETTLED_MS);
});

after(async () => {
  await prometheus.stop();
  overheard.close();
  await Promise.all([node.stop(null), standIn.stop(null), cutOff.stop(null)]);
  await standInEngine.stop();
  await engine.stop();
});

const DEAD_API_SERVER = JSON.stringify({
  apiVersion: 'v1',
  kind: 'Config',
  clusters: [{ name: 'c', cluster: { server: 'https://127.0.0.1:1' } }],
  users: [{ name: 'u', user: { token: 'none' } }],
  contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
  'current-context': 'x',
});

interface Overheard {
  readonly address: string;
  /** The content types of all answers. */
  readonly formats: ReadonlySet<string>;
  close(): void;
}

/** Passes scrapes on, and listens. */
async function overhear(address: string): Promise<Overheard> {
  const formats = new Set<string>();
  const scrape = async ({ headers: { accept = '' } }: IncomingMessage, response: ServerResponse): Promise<void> => {
    const answer = await fetch(`http://${address}/metrics`, { headers: { Accept: accept } });
    const format = answer.headers.get('Content-Type') ?? '';
    formats.add(format);
    response.writeHead(answer.status, { 'Content-Type': format }).end(await answer.text());
  };
  const server = createServer((request, response) => {
    scrape(request, response).catch((cause: unknown) => response.destroy(cause as Error));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    address: `127.0.0.1:${port}`,
    formats,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** As the daemon's log tells it. */
async function metricsAddress(daemon: Daemon): Promise<string> {
  const { address, port } = await daemon.waitForLog(({ message }) => message === 'serving metrics');
  return `${String(address)}:${String(port)}`;
}

async function writeCertificate(validMs: number): Promise<void> {
  const { cert, key } = await credentials.servers.issue({
    commonName: 'node',
    usages: ['server'],
    sans: ['127.0.0.1'],
    notAfter: new Date(Date.now() + validMs),
  });
  await credentials.file('tls.key', key);
  await credentials.file('tls.crt', cert);
}

/** Rules that need no hours. */
function shortened(rules: string): string {
  return rules.replaceAll(/\[\d+[smhd]\]/g, `[${RANGE}]`).replaceAll(/^( +for:) .*$/gm, '$1 0s');
}

/** Two sessions on the real Engine, one for each transport. */
async function useNode(): Promise<void> {
  const path = execPath({ command: ['echo', 'hi'], tty: false, input: false });
  const secured = { ca: credentials.servers.certificate, headers: ALICE };
  await execOverWebSocket({ url: `wss://127.0.0.1:${node.port}${path}`, protocols: [WEBSOCKET], ...secured });
  await execOverSpdy({
    port: node.port,
    path,
    protocols: ['v4.channel.k8s.io'],
    ...secured,
    headers: Object.entries(ALICE),
  });
}

test('the rules are valid, and so is a scrape, for promtool', async () => {
  await checkRules(programs, RULES_FILE);
  const scrape = await fetch(`http://${await metricsAddress(node)}/metrics`);
  assert.equal(await lintScrape(programs, await scrape.text()), '');
});

test('Prometheus is answered in OpenMetrics, and reads it', async () => {
  const [up] = await prometheus.query('up{job="overheard"}');
  assert.equal(up?.value, 1);
  assert.deepEqual([...overheard.formats], ['application/openmetrics-text; version=1.0.0; charset=utf-8']);
});

test('while nothing is wrong no query of the dashboard is empty, and no alert fires', async () => {
  const { panels } = await readDashboard();
  const queries = panels.flatMap(({ title, targets }) => targets.map(({ expr }) => ({ title, expr })));
  const empty = new Set(queries);
  const deadline = Date.now() + SETTLED_MS;
  while (empty.size > 0) {
    assert.ok(Date.now() < deadline, `these stay empty: ${[...empty].map(({ expr }) => expr).join('\n')}`);
    await useNode();
    for (const query of empty) {
      const expression = query.expr.replaceAll(/\$(job|instance)\b/g, '.*').replaceAll('$__rate_interval', RANGE);
      const series = await prometheus.query(expression);
      if (series.some(({ value }) => Number.isFinite(value))) empty.delete(query);
    }
  }
  const active = (await prometheus.alerts()).map(({ labels: { alertname = '' } }) => alertname);
  assert.deepEqual(
    active.filter(name => !SLOW_MACHINE.includes(name)),
    [],
  );
});

interface Fault {
  readonly alert: string;
  /** Of the alert that it raises. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly make: () => Promise<unknown>;
}

/** What raises each alert; the last two leave nothing to make another with. */
const FAULTS: readonly Fault[] = [
  {
    alert: 'ExecletEventStreamRestarts',
    make: async () => {
      for (let times = 1; times <= 6; times += 1) {
        standInEngine.breakEvents();
        await standInLogs('engine unavailable', times);
        standInEngine.resumeEvents();
        await standInLogs('engine is back', times);
      }
    },
  },
  {
    alert: 'ExecletSetupSlow',
    labels: { phase: 'create' },
    make: async () => {
      const dockerd = engine.requirePrivate();
      dockerd.pause();
      const used = useNode();
      await delay(2_500); // the fault itself
      dockerd.resume();
      await used;
    },
  },
  { alert: 'ExecletExitsNotFromEvents', make: () => Promise.all(['inspect', 'inspect', 'inspect'].map(runOnStandIn)) },
  { alert: 'ExecletExitStatusUnknown', make: () => runOnStandIn('forget') },
  {
    alert: 'ExecletSessionsFail',
    make: async () => {
      for (let times = 0; times < 3; times += 1) await Promise.all(['forget', 'forget'].map(runOnStandIn));
    },
  },
  {
    alert: 'ExecletProcessesLeft',
    labels: { cause: 'new_session' },
    make: async () => {
      const client = await onNode(['sh', '-c', 'setsid sleep 1000 & echo up; sleep 1000']);
      await client.until(() => client.received(1).length > 0);
      client.reset();
    },
  },
  {
    alert: 'ExecletLimitReached',
    labels: { stage: 'limit' },
    make: async () => {
      const url = standInUrl('hang');
      const open = (): Promise<WebSocketClient> => WebSocketClient.open({ url, protocols: [WEBSOCKET] });
      const hanging = await Promise.all(Array.from({ length: STAND_IN_SESSIONS }, open));
      await assert.rejects(open(), /429/);
      for (const client of hanging) client.reset();
    },
  },
  {
    alert: 'ExecletEventLoopLag',
    make: async () => {
      // Several times: what ends while a scrape waits for an answer is not seen by that scrape, nor by the next.
      for (let times = 0; times < 8; times += 1) {
        process.kill(standIn.pid, 'SIGSTOP');
        await delay(300); // the fault itself
        process.kill(standIn.pid, 'SIGCONT');
        await delay(200);
      }
    },
  },
  { alert: 'ExecletCertificateExpires', make: () => writeCertificate(2 * DAY_MS) },
  {
    alert: 'ExecletFileNotReloaded',
    labels: { file: 'requestheader_client_ca' },
    make: () => credentials.file('proxies.crt', 'no certificate'),
  },
  {
    alert: 'ExecletSessionLogIncomplete',
    make: async () => {
      const url = `ws://127.0.0.1:${cutOff.port}${execPath({ command: ['tell'], tty: false, input: false })}`;
      await assert.rejects(WebSocketClient.open({ url, protocols: [WEBSOCKET], headers: ALICE }), /503/);
    },
  },
  {
    alert: 'ExecletAccessReviewsFail',
    labels: { kind: 'token' },
    make: async () => {
      const headers = { Authorization: 'Bearer unknown' };
      assert.equal((await fetch(`${cutOff.url}/metrics`, { headers })).status, 503);
    },
  },
  { alert: 'ExecletDown', make: () => cutOff.kill() },
  { alert: 'ExecletEngineDown', make: () => engine.requirePrivate().kill() },
];

test('each alert has a fault here', async () => {
  const alerts = (await readAlerts()).map(({ alert }) => alert);
  assert.deepEqual(FAULTS.map(({ alert }) => alert).sort(), alerts.sort());
});

for (const { alert, labels = {}, make } of FAULTS) {
  test(`${alert} fires when its fault is made`, async () => {
    await make();
    const fired = await prometheus.untilFiring({ ...labels, alertname: alert }, SETTLED_MS);
    for (const text of Object.values(fired.annotations)) assert.doesNotMatch(text, /<no value>|<error|\{\{|NaN/, text);
  });
}

async function onNode(command: readonly string[]): Promise<WebSocketClient> {
  const path = execPath({ command, tty: false, input: false });
  const ca = credentials.servers.certificate;
  return WebSocketClient.open({
    url: `wss://127.0.0.1:${node.port}${path}`,
    protocols: [WEBSOCKET],
    ca,
    headers: ALICE,
  });
}

function standInUrl(what: string): string {
  return `ws://127.0.0.1:${standIn.port}${execPath({ command: [what], tty: false, input: false })}`;
}

async function runOnStandIn(what: string): Promise<void> {
  await execOverWebSocket({ url: standInUrl(what), protocols: [WEBSOCKET] });
}

/** Resolves when it has logged that so many times, ever. */
async function standInLogs(message: string, times: number): Promise<void> {
  const isIt = (line: LogLine): boolean => line.message === message;
  await standIn.waitForLog(line => isIt(line) && standIn.log.filter(isIt).length >= times);
}
