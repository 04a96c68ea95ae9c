import assert from 'node:assert/strict';
import { once } from 'node:events';
import { before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { WebSocket } from 'ws';
import type { TestContainer } from '../support/containers.ts';
import { kubernetesLabels } from '../support/containers.ts';
import { Daemon } from '../support/daemon.ts';
import { serveWeb } from '../support/served.ts';
import { execOverSpdy } from '../support/spdy-client.ts';
import { withoutSessionName } from '../support/session-name.ts';
import { execOverWebSocket } from '../support/websocket-client.ts';

/** The promise: a container's end is told within a second. */
const WITHIN_MS = 1_000;

const served = serveWeb();

interface Ended {
  readonly stdout: string;
  /** What the error stream carried: a Status, or text before v4. */
  readonly status: string;
}

interface Exec {
  readonly port: number;
  readonly pod?: string;
  readonly script: string;
}

/** One for each protocol. */
interface Wire {
  readonly name: string;
  readonly json: boolean;
  readonly exec: (exec: Exec) => Promise<Ended>;
}

function pathOf(pod: string, command: readonly string[]): string {
  return `/exec/default/${pod}/app?${command.map(word => `command=${encodeURIComponent(word)}`).join('&')}&output=1`;
}

const overSpdy = ['v4.channel.k8s.io', 'v3.channel.k8s.io', 'v2.channel.k8s.io', 'channel.k8s.io'].map(
  (protocol): Wire => ({
    name: `SPDY ${protocol}`,
    json: protocol.startsWith('v4'),
    exec: async ({ port, pod = 'web', script }) => {
      const path = pathOf(pod, ['sh', '-c', script]);
      const result = await execOverSpdy({ port, path, protocols: [protocol], stderr: false });
      assert.ok(result.complete, 'the streams are ended, not cut off');
      return { stdout: result.stdout.toString(), status: result.errorStream };
    },
  }),
);

const overWebSocket = ['v5.', 'v4.', 'v4.base64.', '', 'base64.'].map((version): Wire => {
  const protocol = `${version}channel.k8s.io`;
  return {
    name: `WebSocket ${protocol}`,
    json: /^v[45]/.test(protocol),
    exec: async ({ port, pod = 'web', script }) => {
      const url = `ws://127.0.0.1:${port}${pathOf(pod, ['sh', '-c', script])}`;
      const result = await execOverWebSocket({ url, protocols: [protocol] });
      assert.equal(result.closeCode, 1000);
      return { stdout: result.stdout.toString(), status: result.status };
    },
  };
});

const WIRES = [...overSpdy, ...overWebSocket];

/** One Status with that reason, or its text, or nothing for success before v4. */
function assertStatus({ status }: Ended, { json, name }: Wire, expected: { reason: string; message: RegExp }): void {
  const told = (text: string): string => (expected.reason.startsWith('ExitCode') ? text : withoutSessionName(text));
  if (!json) {
    assert.match(told(status), expected.message, name);
    return;
  }
  const parsed = JSON.parse(status) as { message: string; details: { causes: { reason?: string; message: string }[] } };
  assert.match(told(parsed.message), expected.message, name);
  const reasons = parsed.details.causes.map(cause => `${cause.reason ?? ''} ${cause.message}`);
  assert.ok(reasons.includes(expected.reason), `${name}: ${status}`);
}

const exitCode = (code: number) => ({ reason: `ExitCode ${code}`, message: new RegExp(`exit status ${code}$`) });
const failure = (reason: string, message: RegExp) => ({ reason: `ExecletReason ${reason}`, message });

/** Starts the script in the pod over every protocol and waits until all of them run. */
async function startEverywhere(container: TestContainer, pod: string, port: number): Promise<Promise<Ended>[]> {
  const sessions = WIRES.map(({ exec }, index) =>
    exec({ port, pod, script: `echo up; touch /tmp/up-${index}; sleep 1000` }),
  );
  for (const session of sessions) session.catch(() => undefined); // awaited below, after what ends them
  for (const [index] of WIRES.entries()) {
    await container.exec(['sh', '-c', `until [ -e /tmp/up-${index} ]; do sleep 0.02; done`]);
  }
  return sessions;
}

/** A container of its own, once the daemon serves it. */
async function createPod(pod: string): Promise<TestContainer> {
  const labels = kubernetesLabels({ namespace: 'default', pod, container: 'app' });
  const container = await served.engine.createContainer({ labels });
  const deadline = Date.now() + 10_000;
  while ((await fetch(`${served.daemon.url}${pathOf(pod, ['true'])}`)).status === 404) {
    assert.ok(Date.now() < deadline, `the daemon does not serve ${pod}`);
    await delay(20);
  }
  return container;
}

/** Runs the script over every protocol at the same time. */
async function everywhere(script: string, check: (ended: Ended, wire: Wire) => void): Promise<void> {
  await Promise.all(WIRES.map(async wire => check(await wire.exec({ port: served.daemon.port, script }), wire)));
}

describe('a command that ends by itself', () => {
  test('its exit code, and 128 + n after a signal', async () => {
    await everywhere('exit 3', (ended, wire) => assertStatus(ended, wire, exitCode(3)));
    await everywhere('kill -9 $$', (ended, wire) => assertStatus(ended, wire, exitCode(137)));
    await everywhere('kill -15 $$', (ended, wire) => assertStatus(ended, wire, exitCode(143)));
  });

  test('what its children in the background still print within 2 s is part of its output', async () => {
    await everywhere('echo out; { sleep 0.5; echo child; } & exit 4', (ended, wire) => {
      assertStatus(ended, wire, exitCode(4));
      assert.equal(ended.stdout, 'out\nchild\n', wire.name);
    });
  });

  test('children in the background that are silent do not keep the session', async () => {
    // A container for each: the Engine waits 2 s for such children, and for the commands of one container one after the other.
    await Promise.all(
      WIRES.map(async (wire, index) => {
        const pod = `alone-${index}`;
        await createPod(pod);
        const script = 'echo out; { sleep 20; echo child; } & exit 4';
        const ended = await wire.exec({ port: served.daemon.port, pod, script });
        assertStatus(ended, wire, exitCode(4));
        assert.equal(ended.stdout, 'out\n', wire.name);
      }),
    );
  });

  test('a script whose interpreter is missing: the runtime has begun it, so its text is output and its code the exit code', async () => {
    await served.web.exec(['sh', '-c', 'echo "#!/no/interpreter" > /tmp/script; chmod +x /tmp/script']);
    await everywhere('exec /tmp/script', (ended, wire) => assertStatus(ended, wire, exitCode(127))); // the shell's own
    const url = `ws://127.0.0.1:${served.daemon.port}${pathOf('web', ['/tmp/script'])}&error=1`;
    const { stdout, stderr, status } = await execOverWebSocket({ url, protocols: ['v5.channel.k8s.io'] });
    assert.match(`${stdout.toString()}${stderr.toString()}`, /exec \/tmp\/script: no such file or directory/);
    assert.match(status, /"reason":"ExitCode","message":"(1|255)"/); // runc 1.1, and newer
  });
});

describe('a command that cannot be started', () => {
  before(async () => {
    await served.web.exec([
      'sh',
      '-c',
      'echo "#!/no/interpreter" > /tmp/script; chmod +x /tmp/script; echo > /tmp/plain',
    ]);
  });

  for (const { what, file } of [
    { what: 'not found', file: '/no/such/file' },
    { what: 'not in PATH', file: 'no-such-command' },
    { what: 'not executable', file: '/tmp/plain' },
    { what: 'a directory', file: '/tmp' },
  ]) {
    test(`${what}: a failure that names it, and no output`, async () => {
      const path = pathOf('web', [file]);
      const url = `ws://127.0.0.1:${served.daemon.port}${path}`;
      const [spdy, webSocket] = await Promise.all([
        execOverSpdy({ port: served.daemon.port, path, protocols: ['v4.channel.k8s.io'], stderr: false }),
        execOverWebSocket({ url, protocols: ['v5.channel.k8s.io'] }),
      ]);
      for (const { stdout, status } of [{ stdout: spdy.stdout, status: spdy.errorStream }, webSocket]) {
        assert.equal(stdout.length, 0);
        const { message, details } = JSON.parse(status) as { message: string; details: { causes: unknown[] } };
        assert.match(
          message,
          /^Internal error occurred: error executing command in container: OCI runtime exec failed: /,
        );
        assert.ok(message.includes(file), message);
        assert.deepEqual(details.causes.at(-1), { reason: 'ExecletReason', message: 'start_failed' });
      }
    });
  }
});

describe('a container that goes', () => {
  const ways: Record<string, (container: TestContainer) => Promise<unknown>> = {
    'is stopped': container => container.docker.stop(),
    'is killed': container => container.docker.kill(),
    'ends by itself': container => container.exec(['kill', '1']),
    'is removed': container => container.remove(),
  };
  for (const [way, end] of Object.entries(ways)) {
    test(`${way}: every session says so within a second, whatever the protocol`, async () => {
      const pod = way.replaceAll(' ', '-');
      const container = await createPod(pod);
      const sessions = await startEverywhere(container, pod, served.daemon.port);
      await end(container);
      const all = await Promise.race([Promise.all(sessions), delay(WITHIN_MS, undefined)]);
      assert.ok(all !== undefined, `not all sessions have ended ${WITHIN_MS} ms after the container`);
      for (const [index, ended] of all.entries()) {
        const wire = WIRES[index];
        assert.ok(wire !== undefined);
        assert.equal(ended.stdout, 'up\n');
        assertStatus(ended, wire, failure('container_gone', /container app (stopped: exited \(\d+\)|was removed)$/));
      }
    });
  }
});

describe('a paused container', () => {
  test('its sessions wait, and go on when it is unpaused', async () => {
    const container = await createPod('frozen');
    // An exec that is just being started when its container is paused keeps that paused for good (20.10): the shim waits for it.
    const script = 'echo up; touch /tmp/up-$$; until [ -e /tmp/go ]; do sleep 0.02; done; echo on; exit 5';
    const sessions = WIRES.map(({ exec }) => exec({ port: served.daemon.port, pod: 'frozen', script }));
    await container.exec(['sh', '-c', `until [ $(ls /tmp/up-* | wc -l) = ${WIRES.length} ]; do sleep 0.02; done`]);
    await container.docker.pause();
    const early = await Promise.race([...sessions.map(async session => session.then(() => true)), delay(2_500, false)]);
    assert.equal(early, false, 'a session ended while its container was paused');
    await container.docker.unpause();
    await container.exec(['touch', '/tmp/go']);
    for (const [index, ended] of (await Promise.all(sessions)).entries()) {
      const wire = WIRES[index];
      assert.ok(wire !== undefined);
      assert.equal(ended.stdout, 'up\non\n');
      assertStatus(ended, wire, exitCode(5));
    }
  });

  test('its sessions can be ended meanwhile: by the client, and by stopping the daemon', async () => {
    const container = await createPod('frozen-for-good');
    const daemon = await Daemon.start({ engine: served.engine });
    const sessions = await startEverywhere(container, 'frozen-for-good', daemon.port);
    const command = ['sh', '-c', 'echo up; sleep 1000'];
    const client = new WebSocket(`ws://127.0.0.1:${daemon.port}${pathOf('frozen-for-good', command)}`);
    while (((await once(client, 'message')) as [Buffer])[0].length < 2); // the first says that the connection is up
    await container.docker.pause();
    client.terminate();
    const [gone] = await daemon.waitForSessionsEnded(1);
    assert.equal(gone?.reason, 'client_gone');
    await daemon.stop();
    for (const [index, ended] of (await Promise.all(sessions)).entries()) {
      const wire = WIRES[index];
      assert.ok(wire !== undefined);
      assertStatus(ended, wire, failure('drain', /execlet is stopping$/));
    }
    await container.docker.unpause();
  });
});

test('a daemon that is stopped ends every session with a Status that says so, whatever the protocol', async () => {
  const container = await createPod('drained');
  const daemon = await Daemon.start({ engine: served.engine });
  const sessions = await startEverywhere(container, 'drained', daemon.port);
  await daemon.stop();
  for (const [index, ended] of (await Promise.all(sessions)).entries()) {
    const wire = WIRES[index];
    assert.ok(wire !== undefined);
    assert.equal(ended.stdout, 'up\n');
    assertStatus(ended, wire, failure('drain', /execlet is stopping$/));
  }
});
