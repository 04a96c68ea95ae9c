import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { temporaryDirectory } from '../support/cleanup.ts';
import { findExecutable } from '../support/command.ts';
import { uniqueName } from '../support/containers.ts';
import { canInstallPackages } from '../support/debian.ts';
import { startTestEngine } from '../support/engine.ts';
import { isRunning, listProcesses, readProcess } from '../support/processes.ts';

test('runs a container, and leaves no process, mount or file behind', async t => {
  const engine = await startTestEngine();
  t.after(() => engine.stop());
  const { directory } = engine.requirePrivate();
  const container = await engine.createContainer();

  assert.deepEqual(await container.exec(['sh', '-c', 'echo out; echo err >&2; exit 42']), {
    exitCode: 42,
    stdout: 'out\n',
    stderr: 'err\n',
  });
  const { State } = await container.docker.inspect();
  const init = await readProcess(State.Pid);
  assert.ok(init !== undefined);

  await engine.stop();
  assert.equal(await isRunning(init), false);
  await assertNothingLeft(directory);
});

test('a killed Engine can be started again', async t => {
  const engine = await startTestEngine();
  t.after(() => engine.stop());
  const dockerd = engine.requirePrivate();
  const container = await engine.createContainer();

  await dockerd.kill();
  await assert.rejects(engine.docker.ping());
  await dockerd.start();
  await container.docker.start();
  assert.equal((await container.exec(['true'])).exitCode, 0);
});

test('a killed test run leaves nothing behind', async () => {
  const engineModule = join(import.meta.dirname, '..', 'support', 'engine.ts');
  const script = `
    const { startTestEngine } = await import(${JSON.stringify(engineModule)});
    const engine = await startTestEngine();
    await engine.createContainer();
    console.log(engine.requirePrivate().directory);
    setInterval(() => {}, 1000);`;
  const run = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: ['ignore', 'pipe', 'pipe'] });
  const stderr: Buffer[] = [];
  run.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  const printed: unknown[] = await once(createInterface({ input: run.stdout }), 'line');
  const [directory] = printed;
  assert.ok(typeof directory === 'string');

  run.kill('SIGKILL');
  await once(run.stderr, 'end'); // The janitor shares it, and ends last.
  assert.equal(Buffer.concat(stderr).toString(), '');
  await assertNothingLeft(directory);
});

test('in an Engine that is not ours, only what we made goes', async t => {
  const host = await startTestEngine();
  t.after(() => host.stop());
  await host.docker.getImage(host.image).tag({ repo: 'busybox', tag: 'latest' }); // nothing to pull
  const foreign = await host.docker.createContainer({ Image: host.image, name: uniqueName('foreign') });

  const borrowed = await startTestEngine({ ...process.env, EXECLET_TEST_DOCKER_HOST: host.dockerHost });
  const ours = await borrowed.createContainer();
  assert.equal((await ours.exec(['true'])).exitCode, 0);
  assert.throws(() => borrowed.requirePrivate(), /needs a private one/);

  await borrowed.stop();
  const left = await host.docker.listContainers({ all: true });
  assert.deepEqual(
    left.map(({ Id }) => Id),
    [foreign.id],
  );
});

test('without a static busybox an Engine that answers is used, and nothing is installed', async t => {
  const host = await startTestEngine();
  t.after(() => host.stop());
  await host.docker.getImage(host.image).tag({ repo: 'busybox', tag: 'latest' }); // nothing to pull
  const installed = await withoutBusybox(host.requirePrivate().directory, async () => {
    const borrowed = await startTestEngine({ DOCKER_HOST: host.dockerHost });
    assert.equal(borrowed.dockerHost, host.dockerHost);
    assert.equal((await (await borrowed.createContainer()).exec(['true'])).exitCode, 0);
    await borrowed.stop();
  });
  assert.equal(installed, '');
});

test('where no Engine answers either, apt is asked for what is missing, and for no more', async t => {
  const { path, remove } = await temporaryDirectory('no-engine');
  t.after(remove);
  const installed = await withoutBusybox(path, async () => {
    await assert.rejects(startTestEngine({ DOCKER_HOST: `unix://${path}/nowhere.sock` }));
    // Somebody's Engine that is not reached from here is no reason to install one.
    await assert.rejects(startTestEngine({ DOCKER_HOST: 'ssh://elsewhere' }), { name: 'NoEngineError' });
  });
  assert.equal(installed, (await canInstallPackages()) ? 'busybox-static\n' : '');
});

/** Runs it with dockerd alone on PATH, and with an installation that fails. Answers what was to be installed. */
async function withoutBusybox(directory: string, run: () => Promise<void>): Promise<string> {
  const bin = join(directory, 'bin');
  const record = join(directory, 'installed');
  await mkdir(bin);
  const dockerd = await findExecutable('dockerd');
  assert.ok(dockerd !== undefined);
  await symlink(dockerd, join(bin, 'dockerd'));
  await writeFile(record, '');
  // apt is run under flock: LOCK sh -c SCRIPT sh PACKAGE…
  await writeFile(join(bin, 'flock'), `#!/bin/sh\nshift 5\necho "$@" >>${record}\nexit 1\n`, { mode: 0o755 });
  const { PATH } = process.env;
  process.env.PATH = bin;
  try {
    await run();
  } finally {
    process.env.PATH = PATH;
  }
  return readFile(record, 'utf8');
}

async function assertNothingLeft(directory: string): Promise<void> {
  await assert.rejects(access(directory), { code: 'ENOENT' });
  const processes = await listProcesses();
  assert.deepEqual(
    processes.filter(({ argv }) => argv.some(arg => arg.includes(directory))),
    [],
  );
  assert.doesNotMatch(await readFile('/proc/self/mountinfo', 'utf8'), new RegExp(directory));
}
