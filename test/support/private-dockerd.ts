import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, open, readdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import Docker from 'dockerode';
import { leaveToJanitor } from './cleanup.ts';
import { runCommand } from './command.ts';
import {
  isRunning,
  killProcesses,
  listProcesses,
  readProcess,
  sendSignal,
  untilGone,
  withDescendants,
  type HostProcess,
} from './processes.ts';

const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 60_000;

/**
 * A dockerd of our own, as root: everything it keeps is in one temporary directory, it has no network and no part in the
 * machine's own Engine. Any number of them run side by side.
 */
export class PrivateDockerd {
  readonly directory: string;
  readonly dockerHost: string;
  readonly docker: Docker;
  readonly #dockerd: string;
  readonly #forget: () => void;
  #process: ChildProcess | undefined;

  private constructor(dockerd: string, directory: string) {
    const socketPath = join(directory, 'docker.sock');
    this.#dockerd = dockerd;
    this.directory = directory;
    this.dockerHost = `unix://${socketPath}`;
    this.docker = new Docker({ socketPath });
    this.#forget = leaveToJanitor({ kind: 'dockerd', directory });
  }

  /** Resolves when the Engine answers; about 0.3 s. */
  static async start(dockerd: string): Promise<PrivateDockerd> {
    const engine = new PrivateDockerd(dockerd, await makeDirectory());
    // The machine's own daemon.json would be read otherwise, and its settings clash with the flags.
    await writeFile(join(engine.directory, 'daemon.json'), '{}');
    await engine.start();
    return engine;
  }

  /** Starts it again after `kill` or `terminate`. Without live-restore, dockerd ends the containers that ran before. */
  async start(): Promise<void> {
    const { directory } = this;
    // dockerd takes a process that was killed and not yet reaped for one that runs, and waits for it in vain.
    for (const stale of ['dockerd.pid', 'exec/containerd/containerd.pid'])
      await rm(join(directory, stale), { force: true });
    const log = await open(join(directory, 'dockerd.log'), 'a');
    const child = spawn(
      this.#dockerd,
      [
        `--config-file=${join(directory, 'daemon.json')}`,
        `--data-root=${join(directory, 'data')}`,
        `--exec-root=${join(directory, 'exec')}`, // and in it the state of dockerd's own containerd
        `--pidfile=${join(directory, 'dockerd.pid')}`,
        `--host=${this.dockerHost}`,
        '--bridge=none',
        '--iptables=false',
        '--ip-forward=false',
      ],
      // A group of its own: Ctrl-C must reach the tests, which still need the Engine to clean up.
      { stdio: ['ignore', log.fd, log.fd], detached: true },
    );
    child.unref();
    this.#process = child;
    await once(child, 'spawn').finally(() => log.close());
    await this.#ready(child);
  }

  /** Kills dockerd and its containerd at once, as a crash would; the containers run on. */
  async kill(): Promise<void> {
    await killProcesses((await engineProcesses(this.directory)).filter(({ argv }) => !isShim(argv)));
  }

  /** Stops dockerd as an administrator would: it ends its containers first. Takes a second or more. */
  async terminate(): Promise<void> {
    const running = await readProcess(this.#pid());
    sendSignal(this.#pid(), 'SIGTERM');
    if (running !== undefined) await untilGone(running, STOP_TIMEOUT_MS);
  }

  /** Freezes dockerd: connections are still accepted by the kernel, and nothing answers. */
  pause(): void {
    sendSignal(this.#pid(), 'SIGSTOP');
  }

  resume(): void {
    sendSignal(this.#pid(), 'SIGCONT');
  }

  /** Takes it away with everything that runs in it; works in any state, and twice. */
  async remove(): Promise<void> {
    await removeDockerd(this.directory);
    this.#forget();
  }

  /** What dockerd has logged lately, for failure messages. */
  async logTail(): Promise<string> {
    const log = await readFile(join(this.directory, 'dockerd.log'), 'utf8');
    return log.slice(-3000);
  }

  #pid(): number {
    const pid = this.#process?.pid;
    if (pid === undefined) throw new Error('dockerd has not been started');
    return pid;
  }

  async #ready(child: ChildProcess): Promise<void> {
    const deadline = Date.now() + START_TIMEOUT_MS;
    while (!(await this.#answers())) {
      const ended = child.exitCode !== null || child.signalCode !== null;
      if (!ended && Date.now() < deadline) {
        await delay(20);
        continue;
      }
      const what = ended ? 'ended before it answered' : `did not answer within ${START_TIMEOUT_MS} ms`;
      throw new Error(`the private dockerd ${what}. Its last words:\n${await this.logTail()}`);
    }
  }

  async #answers(): Promise<boolean> {
    return this.docker.ping().then(
      () => true,
      () => false,
    );
  }
}

/** Removes what crashed test runs left behind: the directories whose owner, by pid and start time, is gone. */
export async function sweepDeadDockerds(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const [, pid, startTime] = /^execlet-dockerd-(\d+)-(\d+)-/.exec(name) ?? [];
    if (pid === undefined || startTime === undefined) continue;
    if (!(await isRunning({ pid: Number(pid), startTime }))) await removeDockerd(join(tmpdir(), name));
  }
}

/** Ends every process of the dockerd in that directory, and of its containers, and removes its mounts and files. */
export async function removeDockerd(directory: string): Promise<void> {
  const all = await listProcesses();
  await killProcesses(withDescendants(await engineProcesses(directory), all));
  // Deepest first: a mount can only go when nothing is mounted in it.
  for (const mountPoint of (await mountPointsBelow(directory)).sort().reverse()) {
    await runCommand('umount', ['--lazy', mountPoint]); // Another run may be sweeping too, and have been faster.
  }
  await removeTraces(directory);
  await rm(directory, { recursive: true, force: true, maxRetries: 3 });
}

async function makeDirectory(): Promise<string> {
  const self = await readProcess(process.pid);
  // The name says whose it is from the first moment, so that no sweep of another run takes it for a leftover.
  return mkdtemp(join(tmpdir(), `execlet-dockerd-${process.pid}-${self?.startTime ?? ''}-`));
}

/** dockerd, its containerd and its shims all name the directory on their command lines. */
async function engineProcesses(directory: string): Promise<HostProcess[]> {
  const isOurs = ({ argv }: HostProcess): boolean =>
    /^(dockerd|containerd)/.test(basename(argv[0] ?? '')) && argv.some(arg => arg.includes(`${directory}/`));
  return (await listProcesses()).filter(isOurs);
}

function isShim(argv: readonly string[]): boolean {
  return basename(argv[0] ?? '').startsWith('containerd-shim');
}

async function mountPointsBelow(directory: string): Promise<string[]> {
  const mountinfo = await readFile('/proc/self/mountinfo', 'utf8');
  return mountinfo
    .split('\n')
    .map(line => line.split(' ')[4] ?? '') // proc(5): the fifth field is the mount point
    .filter(mountPoint => mountPoint.startsWith(`${directory}/`));
}

/**
 * Removes what killed containers leave outside the directory: empty cgroups, named after them below `docker/`, and the
 * sockets of their shims, which containerd names by a hash of its own socket's path and the container.
 */
async function removeTraces(directory: string): Promise<void> {
  const ids = await readdir(join(directory, 'data', 'containers')).catch(() => []);
  if (ids.length === 0) return;
  const root = '/sys/fs/cgroup'; // version 2; version 1 has one hierarchy in each of its directories
  const hierarchies = [root, ...(await readdir(root)).map(name => join(root, name))];
  for (const id of ids) {
    for (const hierarchy of hierarchies) await rmdir(join(hierarchy, 'docker', id)).catch(() => undefined);
    const shim = join(directory, 'exec/containerd/containerd.sock', 'moby', id);
    await rm(join('/run/containerd/s', createHash('sha256').update(shim).digest('hex')), { force: true });
  }
}
