import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { kubernetesLabels, type TestContainer } from '../support/containers.ts';
import { findKubectls, type Kubectl, type Transport } from '../support/kubectl.ts';
import { Terminal } from '../support/pty.ts';
import { serveWeb } from '../support/served.ts';

// The kubectls are looked for first: each one and each transport it can speak is a group of tests of its own.
const kubectls = await findKubectls();

let two: TestContainer;
const served = serveWeb({
  beforeDaemon: async engine => {
    const labels = (container: string): Record<string, string> =>
      kubernetesLabels({ namespace: 'default', pod: 'two', container });
    await engine.createContainer({ labels: labels('first') });
    two = await engine.createContainer({ labels: labels('second') });
  },
});

for (const kubectl of kubectls) {
  for (const transport of kubectl.transports) {
    describe(`${kubectl.name} over ${transport}`, () => execTests(kubectl, transport));
  }
}

function execTests(kubectl: Kubectl, transport: Transport): void {
  /** Runs kubectl and asserts that the daemon saw `sessions` sessions over this transport and no other. */
  async function run(args: readonly string[], { stdin, sessions = 1 }: { stdin?: string; sessions?: number } = {}) {
    const before = served.daemon.sessionsEnded().length;
    const client = await kubectl.against({ server: served.daemon.url, transport });
    const result = await client.run(args, stdin === undefined ? {} : { stdin });
    await served.daemon.waitForSessionsEnded(before + sessions);
    const seen = served.daemon.sessionsEnded().slice(before);
    assert.deepEqual(
      seen.map(session => session.transport),
      Array.from({ length: sessions }, () => transport),
      JSON.stringify(result),
    );
    return { ...result, stdout: result.stdout.toString() };
  }

  test('prints exactly the output', async () => {
    const { exitCode, stdout, stderr } = await run(['exec', 'web', '--', 'echo', 'hi']);
    assert.deepEqual({ exitCode, stdout, stderr }, { exitCode: 0, stdout: 'hi\n', stderr: '' });
  });

  test('exits with the exit code of the command', async () => {
    const { exitCode, stderr } = await run(['exec', 'web', '--', 'sh', '-c', 'exit 42']);
    assert.equal(exitCode, 42);
    assert.match(stderr, /command terminated with exit code 42/);
  });

  test('a piped input ends by itself', async () => {
    const { exitCode, stdout } = await run(['exec', '-i', 'web', '--', 'cat'], { stdin: 'abcd1234' });
    assert.deepEqual({ exitCode, stdout }, { exitCode: 0, stdout: 'abcd1234' });
  });

  test('stderr is apart from stdout without a terminal', async () => {
    const { exitCode, stdout, stderr } = await run(['exec', 'web', '--', 'sh', '-c', 'echo out; echo err >&2']);
    assert.deepEqual({ exitCode, stdout, stderr }, { exitCode: 0, stdout: 'out\n', stderr: 'err\n' });
  });

  test('an argument of 20 000 characters arrives whole', async () => {
    const argument = 'x'.repeat(20_000);
    assert.equal((await run(['exec', 'web', '--', 'echo', argument])).stdout, `${argument}\n`);
  });

  test('a named container is the one that runs the command', async () => {
    const { stdout } = await run(['exec', 'two', '-c', 'second', '--', 'hostname']);
    assert.equal(stdout.trim(), two.id.slice(0, 12));
  });

  test('a command that does not exist is an error, with nothing on stdout', async () => {
    const { exitCode, stdout, stderr } = await run(['exec', 'web', '--', 'no-such-command']);
    assert.equal(exitCode, 1);
    assert.equal(stdout, '');
    assert.match(stderr, /error executing command in container: .*no-such-command.*not found/);
  });

  test('a pod that does not exist is not found', async () => {
    const { exitCode, stderr } = await run(['exec', 'nobody', '--', 'echo', 'hi'], { sessions: 0 });
    assert.equal(exitCode, 1);
    assert.match(stderr, /pods "nobody" not found/);
  });

  test('a container that does not exist is not found', async () => {
    const { exitCode, stderr } = await run(['exec', 'web', '-c', 'nobody', '--', 'echo', 'hi'], { sessions: 0 });
    assert.equal(exitCode, 1);
    assert.match(stderr, /container (nobody is not valid for pod web|not found \("nobody"\))/);
  });

  test('a terminal has the size of ours, follows it, and gives the exit code', async context => {
    const before = served.daemon.sessionsEnded().length;
    const client = await kubectl.against({ server: served.daemon.url, transport });
    const terminal = await Terminal.open(client.commandLine(['exec', '-it', 'web', '--', 'sh']), {
      columns: 123,
      rows: 45,
      env: client.env(),
    });
    context.after(() => terminal.close());
    await terminal.expect(/# /);
    // The size is on its way while the shell may already be at its prompt.
    terminal.type('until [ "$(stty size)" = "45 123" ]; do sleep 0.1; done; echo is; stty size\r');
    await terminal.expect(/is\r\n45 123\r\n/);
    await terminal.resize({ columns: 90, rows: 30 });
    terminal.type('until [ "$(stty size)" = "30 90" ]; do sleep 0.1; done; echo now; stty size\r');
    await terminal.expect(/now\r\n30 90\r\n/);
    terminal.type('exit 7\r');
    assert.equal(await terminal.exited, 7);
    await served.daemon.waitForSessionsEnded(before + 1);
    const ended = served.daemon.sessionsEnded().at(-1);
    assert.deepEqual([ended?.transport, ended?.exitCode, ended?.tty], [transport, 7, true]);
  });
}
