import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { writeServerCertificate } from '../support/certificates.ts';
import { leaveToJanitor, temporaryDirectory } from '../support/cleanup.ts';
import { kubernetesLabels } from '../support/containers.ts';
import { Daemon } from '../support/daemon.ts';
import { startTestEngine, type TestEngine } from '../support/engine.ts';
import { gateSize } from '../support/gates.ts';
import { untilConnections, type KernelConnection } from '../support/kernel-connections.ts';
import { newMark, untilMarked } from '../support/left-behind.ts';
import { oneKubectlPerTransport } from '../support/one-kubectl-per-transport.ts';
import { TwoHosts } from '../support/two-hosts.ts';

const DEFAULT_INTERVAL_MS = 20_000;
const INTERVAL_MS = gateSize({ full: DEFAULT_INTERVAL_MS, short: 1_000 });
const INTERVAL = INTERVAL_MS === DEFAULT_INTERVAL_MS ? [] : ['--keepalive-interval', `${INTERVAL_MS}ms`];
/** kubectl's, on a machine that may be busy. */
const START_TIMEOUT_MS = 60_000;
/** The promise for the default interval; shorter ones are quicker. */
const IDLE_ENDS_WITHIN_MS = 65_000;
/** By looks at the kernel's tables: a minute of them, some time until the first, and for packets that are repeated ever more seldom. */
const PAUSED_ENDS_WITHIN_MS = 240_000;

/** In the arguments of every command. */
const MARK = newMark();
/** What a client does when its host vanishes. */
const CLIENTS = {
  idle: {
    command: ['sleep', MARK],
    message: new RegExp(`^the client has not answered for ${INTERVAL_MS / 500} s$`),
  },
  // What nobody reads fills the pipe, then kubectl, then the connection: it says nothing any more, and answers no ping.
  paused: {
    command: ['sh', '-c', `cat /dev/zero; : ${MARK}`],
    message: new RegExp(`^the client's host has not answered for ${(3 * INTERVAL_MS) / 1_000} s$`),
  },
} as const;
/** The same for a command that has exited: what is left of its output and the Status wait for the client to read. */
const UNDELIVERED = ['head', '-c', '3000000', '/dev/zero'];

const clients = await oneKubectlPerTransport();
const made = await TwoHosts.make();
const skip = typeof made === 'string' && made;

describe('clients whose host vanishes without a word', { skip }, () => {
  assert.ok(typeof made !== 'string');
  const hosts = made;
  const daemons = new Map<'plain' | 'TLS', Daemon>();
  let engine: TestEngine | undefined;
  let vanishedAt = 0;
  const kubectls: ChildProcess[] = [];

  before(async () => {
    engine = await startTestEngine();
    await engine.createContainer({ labels: kubernetesLabels({ namespace: 'default', pod: 'web', container: 'app' }) });
    const { path } = await temporaryDirectory('vanished-clients');
    const { certFile, keyFile } = await writeServerCertificate(path);
    const args = ['--address', hosts.serverAddress, ...INTERVAL];
    const tls = ['--tls-cert-file', certFile, '--tls-private-key-file', keyFile];
    daemons.set('plain', await Daemon.start({ engine, args, runner: hosts.onServer }));
    daemons.set('TLS', await Daemon.start({ engine, args: [...args, ...tls], runner: hosts.onServer }));
    for (const { command } of Object.values(CLIENTS)) await startOnClient(command);
    for (const daemon of daemons.values()) {
      const sessions = clients.length * Object.keys(CLIENTS).length;
      await daemon.waitForLogs(({ message }) => message === 'session started', sessions, START_TIMEOUT_MS);
      await untilConnections(daemon.pid, connections => {
        const here = connections.filter(({ localPort }) => localPort === daemon.port);
        return here.filter(({ timer }) => timer === 'closed window').length === clients.length;
      });
    }
    await untilMarked(MARK, daemons.size * clients.length * Object.keys(CLIENTS).length);
    await startOnClient(UNDELIVERED);
    for (const daemon of daemons.values()) await daemon.waitForSessionsEnded(clients.length, START_TIMEOUT_MS);
    await hosts.cut();
    vanishedAt = Date.now();
  });
  after(async () => {
    for (const kubectl of kubectls) kubectl.kill('SIGKILL');
    for (const daemon of daemons.values()) await daemon.stop();
    await engine?.stop();
    await hosts.remove();
  });

  /** Each kubectl on the client's host, against each daemon; nobody reads its output. */
  async function startOnClient(command: readonly string[]): Promise<void> {
    const exec = ['--insecure-skip-tls-verify', '--token', 'unused', 'exec', 'web', '--', ...command];
    for (const [security, { port }] of daemons) {
      const server = `${security === 'TLS' ? 'https' : 'http'}://${hosts.serverAddress}:${port}`;
      for (const { kubectl, transport } of clients) {
        const client = await kubectl.against({ server, transport });
        const [program, ...args] = [...hosts.onClient, ...client.commandLine(exec)];
        const child = spawn(program, args, { env: client.env(), stdio: ['ignore', 'pipe', 'ignore'] });
        if (child.pid !== undefined) child.once('exit', leaveToJanitor({ kind: 'process', pid: child.pid }));
        kubectls.push(child);
      }
    }
  }

  describe('their sessions end', { concurrency: true }, () => {
    for (const security of ['plain', 'TLS'] as const) {
      for (const [what, withinMs] of [
        ['idle', IDLE_ENDS_WITHIN_MS],
        ['paused', PAUSED_ENDS_WITHIN_MS],
      ] as const) {
        test(`${security}: ${what} sessions over both transports end within ${withinMs / 1_000} s`, async () => {
          const daemon = daemons.get(security);
          assert.ok(daemon !== undefined);
          const sessions = await daemon.waitForLogs(
            ({ message, error }) => message === 'session ended' && CLIENTS[what].message.test(String(error)),
            clients.length,
            vanishedAt + withinMs - Date.now(),
          );
          assert.deepEqual(sessions.map(({ transport }) => transport).sort(), ['spdy', 'websocket']);
          assert.ok(sessions.every(({ reason }) => reason === 'client_gone'));
        });
      }
    }
  });

  test('nothing is left of their commands', async () => {
    await untilMarked(MARK, 0);
  });

  test('nothing is left of their connections, also where the command had exited long before', async () => {
    for (const daemon of daemons.values()) {
      const none = (connections: readonly KernelConnection[]): boolean =>
        !connections.some(({ localPort }) => localPort === daemon.port);
      await untilConnections(daemon.pid, none, PAUSED_ENDS_WITHIN_MS);
    }
  });
});
