import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import type { CommandResult } from '../support/command.ts';
import { kubernetesLabels } from '../support/containers.ts';
import { findKubectls } from '../support/kubectl.ts';
import { serveWeb } from '../support/served.ts';

const kubectls = await findKubectls();

const served = serveWeb({
  args: ['--node-name', 'this-node'],
  beforeDaemon: async engine => {
    const of = { namespace: 'shop', pod: 'cart-0', uid: '6a0f2f7e-0000-4000-8000-000000000001' };
    await engine.createContainer({ labels: kubernetesLabels({ ...of, container: 'cart' }) });
    await engine.createContainer({ labels: kubernetesLabels({ ...of, container: 'log' }) });
    const done = await engine.createContainer({
      labels: kubernetesLabels({ namespace: 'default', pod: 'done', container: 'app' }),
      command: ['sh', '-c', 'exit 5'],
    });
    await done.docker.wait();
    const gone = { namespace: 'shop', pod: 'cart-1', container: 'cart' };
    const killed = await engine.createContainer({ labels: kubernetesLabels(gone), command: ['sh', '-c', 'exit 137'] });
    await killed.docker.wait();
  },
});

for (const kubectl of kubectls) {
  describe(kubectl.name, () => {
    async function run(...args: string[]): Promise<Omit<CommandResult, 'stdout'> & { stdout: string }> {
      const client = await kubectl.against({ server: served.daemon.url });
      const result = await client.run(args);
      return { ...result, stdout: result.stdout.toString() };
    }

    /** The cells of a table without its header. */
    function rows(table: string): string[][] {
      const [, ...lines] = table.trimEnd().split('\n');
      return lines.map(line => line.split(/ {2,}/).map(cell => cell.trim()));
    }

    test('get pods of one namespace and of all', async () => {
      const [pod] = rows((await run('get', 'pods')).stdout);
      assert.deepEqual(pod?.slice(0, 4), ['web', '1/1', 'Running', '0']);
      const all = rows((await run('get', 'pods', '-A')).stdout);
      assert.deepEqual(
        all.map(([namespace, name, ready]) => [namespace, name, ready]),
        [
          ['default', 'web', '1/1'],
          ['shop', 'cart-0', '2/2'],
        ],
      );
    });

    test('get pods -o wide names the node', async () => {
      const { stdout } = await run('get', 'pods', '-n', 'shop', '-o', 'wide');
      assert.match(stdout, /^NAME +READY +STATUS +RESTARTS +AGE +IP +NODE/);
      assert.match(stdout, /\ncart-0 +2\/2 +Running +0 .* this-node /);
    });

    test('get pod X -o yaml is the pod', async () => {
      const pod = parse((await run('get', 'pod', 'cart-0', '-n', 'shop', '-o', 'yaml')).stdout) as {
        kind: string;
        metadata: { uid: string };
        spec: { containers: { name: string }[] };
      };
      assert.equal(pod.kind, 'Pod');
      assert.equal(pod.metadata.uid, '6a0f2f7e-0000-4000-8000-000000000001');
      assert.deepEqual(
        pod.spec.containers.map(({ name }) => name),
        ['cart', 'log'],
      );
    });

    test('a pod that does not exist is not found', async () => {
      const { exitCode, stderr } = await run('get', 'pod', 'nobody');
      assert.deepEqual([exitCode, stderr], [1, 'Error from server (NotFound): pods "nobody" not found\n']);
    });

    test('a pod that has stopped is not found, and what became of it is said', async () => {
      const { exitCode, stderr } = await run('exec', 'done', '--', 'true');
      assert.equal(exitCode, 1);
      assert.match(stderr, /pods "done" not found: Container [0-9a-f]{64} is not running: exited \(5\)/);
    });

    // Anywhere but in `default` kubectl asks for the namespace after a 404, and shows that answer in its place if it is one too.
    for (const namespace of ['shop', 'nothing-is-here']) {
      test(`a pod that is not found in the namespace ${namespace} is named`, async () => {
        const expected = [1, 'Error from server (NotFound): pods "web-9" not found\n'];
        for (const args of [
          ['get', 'pod', 'web-9'],
          ['exec', 'web-9', '--', 'true'],
        ]) {
          const { exitCode, stderr } = await run('-n', namespace, ...args);
          assert.deepEqual([exitCode, stderr], expected, args[0]);
        }
      });
    }

    test('what became of a stopped pod is said in every namespace', async () => {
      const { exitCode, stderr } = await run('-n', 'shop', 'exec', 'cart-1', '--', 'true');
      assert.equal(exitCode, 1);
      assert.match(stderr, /pods "cart-1" not found: Container [0-9a-f]{64} is not running: exited \(137\)/);
    });

    test('logs, attach, port-forward, run and debug fail with what execlet does not serve', async () => {
      for (const [what, ...args] of [
        ['logs', 'logs', 'web'],
        ['attach', 'attach', 'web'],
        ['port-forward', 'port-forward', 'web', '18080:80'],
        ['run', 'run', 'another', '--image=busybox'],
        ['debug', 'debug', 'web', '--image=busybox'],
      ] as const) {
        const { exitCode, stderr } = await run(...args);
        assert.equal(exitCode, 1);
        assert.match(stderr, new RegExp(`execlet serves exec only, not ${what}`));
      }
    });
  });
}
