import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { CHECKOUT } from '../support/checkout.ts';
import { startTestEngine, type TestEngine } from '../support/engine.ts';
import { newMark, untilAsleep, untilMarked } from '../support/left-behind.ts';
import { oneKubectlPerTransport } from '../support/one-kubectl-per-transport.ts';
import { readUnit, SystemdAnalyze } from '../support/systemd-unit.ts';
import { UnitSandbox } from '../support/unit-sandbox.ts';

const UNIT = join(CHECKOUT, 'deploy', 'execlet.service');
const CONFIG = [
  'namingSchemes: [plain]',
  'port: 0',
  'drainTimeout: 500ms',
  'killGracePeriod: 500ms',
  'sessionLog: /var/log/execlet/sessions.log',
].join('\n');

const analyze = await SystemdAnalyze.find();
const clients = await oneKubectlPerTransport();

test('systemd-analyze verify finds nothing wrong', async () => {
  assert.equal(await analyze.verify(UNIT), '');
});

test('systemd-analyze security gives no higher exposure than docs/plain-docker.md says', async () => {
  const page = await readFile(join(CHECKOUT, 'docs', 'plain-docker.md'), 'utf8');
  const [, documented] = /exposure level (?:of )?\*\*([\d.]+)\*\*/.exec(page) ?? [];
  const exposure = await analyze.exposure(UNIT);
  assert.ok(exposure <= Number(documented), `${exposure}, and the page says ${documented ?? 'nothing'}`);
});

describe("under the unit's restrictions", () => {
  let engine: TestEngine | undefined;
  let daemon: UnitSandbox | undefined;
  const running = (): UnitSandbox => {
    if (daemon === undefined) throw new Error('the daemon has not been started');
    return daemon;
  };
  before(async () => {
    engine = await startTestEngine();
    await engine.createContainer({ name: 'web' });
    await engine.createContainer({ name: 'other-user', create: { User: '1000' } });
    daemon = await UnitSandbox.start({
      unit: await readUnit(UNIT),
      analyze,
      dockerHost: engine.dockerHost,
      config: CONFIG,
    });
  });
  after(async () => {
    await daemon?.stop();
    await engine?.stop();
  });

  test('the daemon has one capability, no way to more, and a filter of system calls', async () => {
    const status = await readFile(`/proc/${running().pid}/status`, 'utf8');
    const field = (name: string): string | undefined => new RegExp(`^${name}:\\s+(.*)$`, 'm').exec(status)?.[1];
    const kill = (1n << 5n).toString(16).padStart(16, '0');
    for (const name of ['CapEff', 'CapPrm', 'CapBnd', 'CapAmb']) assert.equal(field(name), kill, name);
    assert.deepEqual([field('NoNewPrivs'), field('Seccomp'), field('Umask')], ['1', '2', '0077']);
    assert.ok(!(field('Uid') ?? '').split('\t').includes('0'));
  });

  test('nothing can be written but its own directories', async () => {
    for (const path of ['/', '/usr', '/etc/execlet', '/etc/execlet/execlet.yaml', '/opt/execlet']) {
      assert.equal(await running().isWritable(path, 'root'), false, path);
    }
    for (const path of ['/tmp', '/var/lib/execlet', '/var/log/execlet', '/var/cache/execlet']) {
      assert.equal(await running().isWritable(path, 'user'), true, path);
    }
  });

  for (const { kubectl, transport } of clients) {
    test(`${kubectl.name} runs commands over ${transport}, and what a killed one leaves is ended`, async () => {
      const client = await kubectl.against({ server: running().url, transport });
      const hi = await client.run(['exec', 'web', '--', 'echo', 'hi']);
      assert.equal(hi.stdout.toString(), 'hi\n', `${hi.stderr}${running().logTail()}`);
      assert.equal((await client.run(['exec', 'web', '--', 'sh', '-c', 'exit 7'])).exitCode, 7);
      for (const pod of ['web', 'other-user']) {
        const mark = newMark();
        const killed = client.spawn(['exec', '-i', pod, '--', 'sh', '-c', `trap '' HUP; sleep ${mark} & wait`]);
        await untilAsleep(mark, 1);
        killed.kill('SIGKILL');
        await once(killed, 'close');
        await untilMarked(mark, 0);
      }
    });
  }

  test('the session log is nobody else’s, and SIGHUP opens it again', async () => {
    const file = join(running().logs, 'sessions.log');
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    await rename(file, `${file}.1`);
    running().reload();
    while ((await stat(file).catch(() => undefined)) === undefined) await delay(20);
  });

  test('it stops with 0', async () => {
    assert.equal(await running().stop(), 0);
    daemon = undefined;
  });
});
