import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, describe, test } from 'node:test';
import { kubernetesLabels } from '../support/containers.ts';
import { Echo } from '../support/held-exec.ts';
import type { Kubectl } from '../support/kubectl.ts';
import { LEFT_BEHIND, newMark, SETSID, untilAsleep, untilMarked } from '../support/left-behind.ts';
import { oneKubectlPerTransport } from '../support/one-kubectl-per-transport.ts';
import { killProcesses, listProcesses } from '../support/processes.ts';
import { Terminal } from '../support/pty.ts';
import { serveWeb } from '../support/served.ts';

// A kubectl that is killed tells nobody anything. What it ran is gone all the same.

const PODS = ['web', 'other-user'] as const;

/** The other execs of the containers. */
const echoes = new Map<string, Echo>();
after(() => echoes.forEach(echo => echo.stop()));

const served = serveWeb({
  args: ['--kill-grace-period', '300ms'],
  beforeDaemon: async engine => {
    const labels = kubernetesLabels({ namespace: 'default', pod: 'other-user', container: 'app' });
    await engine.createContainer({ labels, create: { User: '1000' } });
  },
  afterDaemon: async ({ port }) => {
    for (const pod of PODS) echoes.set(pod, await Echo.start({ port, pod }));
  },
});

for (const { kubectl, transport } of await oneKubectlPerTransport()) {
  describe(`${kubectl.name} over ${transport} is killed`, () => {
    for (const pod of PODS) {
      for (const { what, command, sleeps } of [...LEFT_BEHIND, SETSID]) {
        const stays = command === SETSID.command ? SETSID.stays : 0;
        const outcome = stays === 0 ? 'nothing of it is left' : 'what is left of it is counted';
        for (const tty of [false, true]) {
          test(`in ${pod}, ${tty ? 'at a terminal' : 'without a terminal'}: ${what}: ${outcome}`, async () => {
            const client = await kubectl.against({ server: served.daemon.url, transport });
            const logged = served.daemon.log.length;
            const mark = newMark();
            const line = ['exec', tty ? '-it' : '-i', pod, '-c', 'app', '--', ...command(mark)];
            const { ended } = await start(client, line, tty);
            await untilAsleep(mark, sleeps);
            const kubectls = (await listProcesses()).filter(
              ({ argv }) => argv[0] === client.path && argv.includes(pod),
            );
            assert.equal(kubectls.length, 1);
            await killProcesses(kubectls);
            await ended;
            await served.daemon.waitForLog(
              line => served.daemon.log.indexOf(line) >= logged && line.message === 'command terminated',
            );
            await killProcesses(await untilMarked(mark, stays));
            const counted = served.daemon.log
              .slice(logged)
              .filter(({ message }) => message === 'processes are left in a container')
              .map(({ cause, count }) => ({ cause, count }));
            assert.deepEqual(counted, stays === 0 ? [] : [{ cause: 'new_session', count: stays }]);
            await echoes.get(pod)?.check();
          });
        }
      }
    }
  });
}

/** Resolves when it has been started. */
async function start(client: Kubectl, line: readonly string[], tty: boolean): Promise<{ ended: Promise<unknown> }> {
  if (!tty) return { ended: once(client.spawn(line), 'close') };
  const terminal = await Terminal.open(client.commandLine(line), { columns: 80, rows: 24, env: client.env() });
  return { ended: terminal.exited };
}
