import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { ContainerInspectInfo } from 'dockerode';
import { stringify } from 'yaml';
import { CHECKOUT } from '../../support/checkout.ts';
import { temporaryDirectory } from '../../support/cleanup.ts';
import { mustRun, runCommand } from '../../support/command.ts';
import { findCompose } from '../../support/compose.ts';
import type { TestEngine } from '../../support/engine.ts';
import type { Kubectl } from '../../support/kubectl.ts';
import { newMark, untilAsleep, untilMarked } from '../../support/left-behind.ts';
import { oneKubectlPerTransport } from '../../support/one-kubectl-per-transport.ts';

const START_TIMEOUT_MS = 30_000;
const FILE = join(CHECKOUT, 'deploy', 'compose.yaml');
const PROJECT = 'shop';

const compose = await findCompose();
const clients = await oneKubectlPerTransport();
const { path: directory } = await temporaryDirectory('compose');
const shop = join(directory, 'shop.yaml');
const changes = join(directory, 'changes.yaml');

/**
 * deploy/compose.yaml with Docker Compose itself and the image that was built, beside a project of which it made the containers. What
 * differs from the file is where the Engine's socket is, the port, and the patience.
 */
export function describeCompose(built: () => { readonly engine: TestEngine; readonly image: string }): void {
  describe('deploy/compose.yaml', () => {
    let engine: TestEngine;
    let server = '';

    const env = (): NodeJS.ProcessEnv => ({ ...process.env, DOCKER_HOST: engine.dockerHost, HOME: directory });
    const ofShop = (...args: string[]): Promise<string> =>
      mustRun(compose, ['--project-name', PROJECT, '--file', shop, ...args], { env: env() });
    const ofExeclet = (...args: string[]): Promise<string> =>
      mustRun(compose, ['--file', FILE, '--file', changes, ...args], { env: env(), timeoutMs: 120_000 });

    before(async () => {
      engine = built().engine;
      await engine.docker.getImage(built().image).tag({ repo: 'execlet', tag: 'latest' });
      const service = { image: engine.image, command: 'sleep 1d', network_mode: 'none', stop_signal: 'KILL' };
      await writeFile(shop, stringify({ services: { web: { ...service, scale: 2 }, db: service } }));
      const socket = new URL(engine.dockerHost).pathname;
      const flags = ['--config', '/etc/execlet/execlet.yaml', '--naming-schemes', 'compose,plain'];
      const execlet = {
        command: ['serve', ...flags, '--port', '0', '--kill-grace-period', '500ms'],
        volumes: [`${socket}:/var/run/docker.sock`],
      };
      await writeFile(changes, stringify({ services: { execlet } }));
      await ofShop('up', '--detach');
      await ofExeclet('up', '--detach', '--no-build');
      server = await untilReady();
    });

    async function untilReady(): Promise<string> {
      const deadline = Date.now() + START_TIMEOUT_MS;
      for (;;) {
        const log = await ofExeclet('logs', '--no-log-prefix');
        const [, port] = /"event":"ready".*"port":(\d+)/.exec(log) ?? [];
        if (port !== undefined) return `http://127.0.0.1:${port}`;
        if (Date.now() > deadline) throw new Error(`execlet does not become ready:\n${log}`);
        await delay(100);
      }
    }

    async function inspected(): Promise<ContainerInspectInfo> {
      return engine.docker.getContainer('execlet-execlet-1').inspect();
    }

    async function said(client: Kubectl, ...args: string[]): Promise<string> {
      const { exitCode, stdout, stderr } = await client.run(args);
      assert.equal(exitCode, 0, `kubectl ${args.join(' ')}: ${stderr}`);
      return stdout.toString();
    }

    test('docker compose finds nothing wrong with the file as it is', async () => {
      const { exitCode, stderr } = await runCommand(compose, ['--file', FILE, 'config', '--quiet'], { env: env() });
      assert.deepEqual({ exitCode, stderr }, { exitCode: 0, stderr: '' });
    });

    test('the container has one capability, no way to more, and nothing to write to', async () => {
      const { HostConfig, State } = await inspected();
      assert.equal(HostConfig.ReadonlyRootfs, true);
      assert.deepEqual([HostConfig.PidMode, HostConfig.NetworkMode], ['host', 'host']);
      const status = await mustRun('cat', [`/proc/${State.Pid}/status`]);
      const kill = (1n << 5n).toString(16).padStart(16, '0');
      for (const name of ['CapEff', 'CapBnd']) assert.match(status, new RegExp(`^${name}:\\s+${kill}$`, 'm'));
      assert.match(status, /^NoNewPrivs:\s+1$/m);
    });

    for (const { kubectl, transport } of clients) {
      test(`${kubectl.name} over ${transport} knows containers by the names of compose`, async () => {
        const client = await kubectl.against({ server, transport });
        const pods = await said(client, 'get', 'pods', '--namespace', PROJECT, '--output', 'name');
        assert.deepEqual(pods.trim().split('\n').sort(), ['pod/db-1', 'pod/web-1', 'pod/web-2']);
        for (const [pod, container] of [
          ['web-1', 'web'],
          ['web-2', 'web'],
          ['db-1', 'db'],
        ] as const) {
          const id = (await ofShop('ps', '--quiet', '--no-trunc', container)).trim().split('\n');
          const hostname = (await said(client, 'exec', '-n', PROJECT, pod, '-c', container, '--', 'hostname')).trim();
          assert.ok(
            id.some(it => it.startsWith(hostname)),
            `${pod}: ${hostname}`,
          );
        }
        await writeFile(join(directory, 'sent'), 'hi\n');
        await said(client, 'cp', join(directory, 'sent'), `${PROJECT}/web-2:/tmp/sent`);
        assert.equal(await said(client, 'exec', '-n', PROJECT, 'web-2', '--', 'cat', '/tmp/sent'), 'hi\n');
      });

      test(`what ${kubectl.name} over ${transport} leaves when it is killed is ended`, async () => {
        const client = await kubectl.against({ server, transport });
        const mark = newMark();
        const killed = client.spawn(['exec', '-i', '-n', PROJECT, 'web-1', '--', 'sh', '-c', `sleep ${mark} & wait`]);
        await untilAsleep(mark, 1);
        killed.kill('SIGKILL');
        await once(killed, 'close');
        await untilMarked(mark, 0);
      });
    }

    test('it stops with 0, and down leaves nothing', async () => {
      await ofExeclet('stop');
      assert.equal((await inspected()).State.ExitCode, 0);
      await ofExeclet('down', '--volumes');
      await ofShop('down', '--timeout', '0');
      const filters = { label: ['com.docker.compose.project'] };
      assert.deepEqual(await engine.docker.listContainers({ all: true, filters }), []);
    });
  });
}
