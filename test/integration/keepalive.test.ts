import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import { Exec, KubeConfig, type V1Status } from '@kubernetes/client-node';
import { writeServerCertificate } from '../support/certificates.ts';
import { temporaryDirectory } from '../support/cleanup.ts';
import { Daemon } from '../support/daemon.ts';
import { dial } from '../support/dial.ts';
import { untilConnections, type KernelConnection } from '../support/kernel-connections.ts';
import { oneKubectlPerTransport } from '../support/one-kubectl-per-transport.ts';
import { serveWeb } from '../support/served.ts';
import { withoutSessionName } from '../support/session-name.ts';
import { dialSpdy } from '../support/spdy-client.ts';
import { StandInEngine } from '../support/stand-in-engine.ts';
import { WebSocketClient } from '../support/websocket-client.ts';

/** On a busy machine a client may take its time. */
const INTERVAL_MS = 500;
/** Many intervals of silence. */
const IDLE = 'sleep 6; echo awake; exit 7';
const NO_ANSWER = 'the client has not answered for 1 s';

const clients = await oneKubectlPerTransport();
const served = serveWeb({ args: ['--keepalive-interval', `${INTERVAL_MS}ms`] });

describe('real peers answer pings, so that silent sessions live on', { concurrency: true }, () => {
  for (const { kubectl, transport } of clients) {
    test(`${kubectl.name} over ${transport}`, async () => {
      const client = await kubectl.against({ server: served.daemon.url, transport });
      const { stdout, stderr, exitCode } = await client.run(['exec', 'web', '--', 'sh', '-c', IDLE]);
      assert.deepEqual([stdout.toString(), exitCode], ['awake\n', 7], stderr);
    });
  }

  test("client-node's Exec", async () => {
    const config = new KubeConfig();
    config.loadFromClusterAndUser(
      { name: 'execlet', server: served.daemon.url, skipTLSVerify: true },
      { name: 'nobody' },
    );
    const stdout = new PassThrough();
    const output = text(stdout);
    const status = await new Promise<V1Status>((resolve, reject) => {
      new Exec(config)
        .exec('default', 'web', 'app', ['sh', '-c', IDLE], stdout, null, null, false, resolve)
        .catch(reject);
    });
    stdout.end();
    assert.deepEqual([await output, status.details?.causes?.[0]?.message], ['awake\n', '7']);
  });
});

describe('a client that is there, idle, and answers no ping', () => {
  const path = '/exec/default/web/app?command=sleep&command=1000&output=1';

  /** It is told, in case it reads. */
  function assertTold(status: string): void {
    const { details } = JSON.parse(status) as V1Status;
    const [text, reason] = details?.causes ?? [];
    assert.equal(withoutSessionName(text?.message ?? ''), NO_ANSWER);
    assert.deepEqual(reason, { reason: 'ExecletReason', message: 'client_gone' });
  }

  test('spdy: ends after two intervals, with a Status', async () => {
    const { client } = await dialSpdy({ port: served.daemon.port, path, protocols: ['v4.channel.k8s.io'] });
    assert.ok(client !== undefined);
    client.answersPings = false;
    const error = await client.open({ streamtype: 'error' });
    await client.open({ streamtype: 'stdout' });
    assertTold((await error.ended()).toString());
    await client.closed;
    assert.deepEqual(
      client.frames.flatMap(frame => (frame.kind === 'PING' ? [frame.id] : [])),
      [2, 4],
    );
  });

  test('websocket: ends after two intervals, with a Status', async () => {
    const client = await WebSocketClient.open({
      url: `ws://127.0.0.1:${served.daemon.port}${path}`,
      protocols: ['v5.channel.k8s.io'],
      answersPings: false,
    });
    assert.equal(await client.closed, 1000);
    assertTold(client.received(3).toString());
  });

  test('the log says so', async () => {
    const isThat = ({ message, error }: { message: string; error?: unknown }): boolean =>
      message === 'session ended' && error === NO_ANSWER;
    const ended = await served.daemon.waitForLogs(isThat, 2, 10_000);
    assert.deepEqual(
      ended.map(({ reason }) => reason),
      ['client_gone', 'client_gone'],
    );
  });
});

describe('the kernel probes every TCP connection that is silent', () => {
  /** Waits for that many connections, each of which is to be probed when it has been silent for that long. */
  async function untilKeptAlive(
    daemon: Daemon,
    isOurs: (connection: KernelConnection) => boolean,
    { count, afterMs }: { count: number; afterMs: number },
  ): Promise<void> {
    await untilConnections(daemon.pid, connections => {
      const ours = connections.filter(isOurs);
      // Seconds may have passed by now, but only so many.
      const isKeptAlive = ({ timer, timerMs }: KernelConnection): boolean =>
        timer === 'keepalive' && timerMs <= afterMs && timerMs > afterMs / 2;
      return ours.length === count && ours.every(isKeptAlive);
    });
  }

  test('after the interval, but no sooner than after a second', async () => {
    const { socket } = await dial({ port: served.daemon.port });
    const { localPort: port } = socket;
    await untilKeptAlive(served.daemon, ({ remotePort }) => remotePort === port, { count: 1, afterMs: 1_000 });
    socket.destroy();
  });

  test('with default settings, over TLS; the event stream and an exec of a remote Engine too', async context => {
    const engine = await StandInEngine.start({ remote: true, play: () => undefined });
    context.after(() => engine.stop());
    const { path: directory } = await temporaryDirectory('keepalive');
    const { certFile, keyFile } = await writeServerCertificate(directory);
    const args = ['--tls-cert-file', certFile, '--tls-private-key-file', keyFile];
    const daemon = await Daemon.start({ engine, args });
    context.after(() => daemon.stop());
    const { client } = await dialSpdy({
      port: daemon.port,
      ca: await readFile(certFile, 'utf8'),
      path: '/exec/default/web/app?command=x&output=1',
      protocols: ['v4.channel.k8s.io'],
    });
    assert.ok(client !== undefined);
    await client.open({ streamtype: 'error' });
    await client.open({ streamtype: 'stdout' });
    const enginePort = Number(new URL(engine.dockerHost).port);
    await untilKeptAlive(daemon, ({ localPort }) => localPort === daemon.port, { count: 1, afterMs: 20_000 });
    await untilKeptAlive(daemon, ({ remotePort }) => remotePort === enginePort, { count: 2, afterMs: 20_000 });
    client.destroy();
    await once(client.socket, 'close');
  });
});
