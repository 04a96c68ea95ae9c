import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { CHECKOUT } from './checkout.ts';
import { leaveToJanitor, temporaryDirectory } from './cleanup.ts';
import { exitCodeOf, findExecutable, mustRun, runCommand, type CommandResult } from './command.ts';
import { findCompose } from './compose.ts';
import { findKubectls } from './kubectl.ts';
import { Terminal } from './pty.ts';

const START_TIMEOUT_MS = 30_000;
const COMMAND_TIMEOUT_MS = 120_000;

/** Directories that documents write to. On the stage they are as on this host, and what is written there stays on the stage. */
const LAYERED = ['/etc', '/run', '/usr/local', '/var'];

/** A stand-in for systemd's, which knows one service: what the unit's ExecStart starts, without any of its restrictions. */
const SYSTEMCTL = [
  'unit=/etc/systemd/system/execlet.service',
  'start() {',
  '  test -f "$unit" || exit 5',
  '  setsid $(sed -n s/^ExecStart=//p "$unit") >/run/execlet.log 2>&1 &',
  '  echo $! >/run/execlet.pid',
  '  until grep -q ready /run/execlet.log; do kill -0 "$(cat /run/execlet.pid)" || exit 1; sleep 0.1; done',
  '}',
  'stop() {',
  '  pid=$(cat /run/execlet.pid) || return 0',
  '  kill -TERM "$pid"',
  '  while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done',
  '  rm /run/execlet.pid',
  '}',
  'case "$*" in',
  'daemon-reload) ;;',
  '"enable --now execlet") start ;;',
  '"stop execlet") stop ;;',
  '"reload execlet") kill -HUP "$(cat /run/execlet.pid)" ;;',
  '"restart execlet") stop && start ;;',
  '"status --no-pager execlet") kill -0 "$(cat /run/execlet.pid)" ;;',
  '*) echo "the stage knows no systemctl $*" >&2; exit 64 ;;',
  'esac',
];

/** What a command in the background says when it is under way. */
export interface Background {
  readonly child: ChildProcess;
  readonly exited: Promise<number>;
}

/**
 * A host of its own for the commands of one document, as far as they can tell: mounts and a loopback address that nobody else has,
 * so that `/etc/execlet`, `/var/run/docker.sock` and port 10350 mean what the document says. Processes are the host's, as execlet
 * must see those of containers.
 */
export class DocumentStage {
  /** The home directory, where commands begin. */
  readonly home: string;
  readonly #holder: ChildProcess;
  readonly #remove: () => Promise<void>;
  readonly #background: Background[] = [];
  readonly #remembered: string[] = [];

  private constructor(of: { home: string; holder: ChildProcess; remove: () => Promise<void> }) {
    this.home = of.home;
    this.#holder = of.holder;
    this.#remove = of.remove;
  }

  /** Makes it, with the Engine at that socket as the host's own. */
  static async make({ dockerSocket }: { dockerSocket: string }): Promise<DocumentStage> {
    if (process.getuid?.() !== 0)
      throw new Error('The commands of documents are run as root, in namespaces of their own.');
    const { path, remove } = await temporaryDirectory('documents');
    const directories = { home: join(path, 'home'), bin: join(path, 'bin'), layers: join(path, 'layers') };
    for (const directory of Object.values(directories)) await mkdir(directory);
    await putPrograms(directories.bin);
    const plugins = join(directories.home, '.docker', 'cli-plugins');
    await mkdir(plugins, { recursive: true });
    await symlink(await findCompose(), join(plugins, 'docker-compose'));
    const layer = (lower: string, at: string, name: string): string =>
      `mkdir -p '${at}' ${['upper', 'work'].map(part => `'${directories.layers}/${name}/${part}'`).join(' ')}\n` +
      `mount -t overlay overlay -o 'lowerdir=${lower},upperdir=${directories.layers}/${name}/upper,` +
      `workdir=${directories.layers}/${name}/work' '${at}'`;
    const script = [
      'set -e',
      'ip link set lo up',
      ...LAYERED.map((directory, index) => layer(directory, directory, String(index))),
      layer(CHECKOUT, join(directories.home, 'execlet'), 'checkout'),
      `ln -sf '${dockerSocket}' /run/docker.sock`,
      'echo ready',
      'exec sleep infinity',
    ].join('\n');
    const holder = spawn('unshare', ['--mount', '--net', '--propagation', 'private', 'sh', '-c', script], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    if (holder.pid !== undefined) holder.once('exit', leaveToJanitor({ kind: 'process', pid: holder.pid }));
    const stage = new DocumentStage({ home: directories.home, holder, remove });
    await stage.#shows(holder, /^ready$/, 'the stage');
    return stage;
  }

  /** Runs a command to its end. */
  async run(command: string, directory: string): Promise<CommandResult> {
    const [program, ...args] = this.#entered(command, directory);
    return runCommand(program, args, { env: this.#env(), timeoutMs: COMMAND_TIMEOUT_MS });
  }

  /** Runs a command at a terminal, and leaves the shell that it opens. */
  async atTerminal(command: string, directory: string): Promise<{ exitCode: number; output: string }> {
    const terminal = await Terminal.open(this.#entered(command, directory), {
      columns: 80,
      rows: 24,
      env: this.#env(),
    });
    await terminal.expect(/[#$] /);
    terminal.type('echo $((40 + 2))\r');
    await terminal.expect(/42\r\n/);
    terminal.type('exit\r');
    return { exitCode: await terminal.exited, output: terminal.output };
  }

  /** Starts a command that goes on, and resolves when it has shown a line that matches. */
  async start(command: string, directory: string, shows: RegExp): Promise<void> {
    const [program, ...args] = this.#entered(command, directory);
    const child = spawn(program, args, { env: this.#env(), stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    if (child.pid !== undefined) child.once('exit', leaveToJanitor({ kind: 'process', pid: child.pid }));
    const exited = once(child, 'close').then(() => exitCodeOf(child.exitCode, child.signalCode));
    this.#background.push({ child, exited });
    await this.#shows(child, shows, command);
  }

  /** Has what is set for a shell (`umask`, variables) hold for all later commands. */
  remember(command: string): void {
    this.#remembered.push(command);
  }

  /** Ends what goes on in the background, the last first, as Ctrl-C would. */
  async stopBackground(): Promise<void> {
    for (const { child, exited } of this.#background.splice(0).reverse()) {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGINT');
      await exited;
    }
  }

  async remove(): Promise<void> {
    await this.stopBackground();
    await this.run('test ! -e /run/execlet.pid || systemctl stop execlet', '/');
    const gone = once(this.#holder, 'close');
    this.#holder.kill('SIGKILL'); // and with it the last of its mounts
    await gone;
    await this.#remove();
  }

  #entered(command: string, directory: string): [string, ...string[]] {
    // Not by nsenter's --wd, which would be the directory that the stage's own is mounted over.
    const script = [`cd '${directory}' || exit`, ...this.#remembered, command].join('\n');
    const enter = ['--target', String(this.#holder.pid), '--mount', '--net'];
    return ['nsenter', ...enter, 'bash', '-c', script];
  }

  #env(): NodeJS.ProcessEnv {
    const env = { ...process.env };
    for (const name of ['DOCKER_HOST', 'KUBECONFIG', 'NODE_TEST_CONTEXT', 'NODE_OPTIONS'])
      Reflect.deleteProperty(env, name);
    const path = [join(dirname(this.home), 'bin'), env.PATH ?? '/usr/bin:/bin'].join(':');
    return { ...env, HOME: this.home, PATH: path, TERM: 'xterm', npm_config_prefix: '/usr/local' };
  }

  async #shows(child: ChildProcess, pattern: RegExp, what: string): Promise<void> {
    const shown: string[] = [];
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    for (const output of [child.stdout, child.stderr]) {
      if (output === null) continue;
      createInterface({ input: output }).on('line', line => {
        shown.push(line);
        if (pattern.test(line)) resolve(undefined);
      });
    }
    const fail = (how: string): void => reject(new Error(`${what}: ${how}\n${shown.slice(-20).join('\n')}`));
    child.once('close', () => fail('has ended'));
    const timer = setTimeout(() => fail(`shows nothing that matches ${pattern.source}`), START_TIMEOUT_MS);
    await promise.finally(() => clearTimeout(timer));
  }
}

/** What the documents take to be on PATH. */
async function putPrograms(bin: string): Promise<void> {
  const script = async (name: string, ...lines: string[]): Promise<void> => {
    await writeFile(join(bin, name), `#!/bin/sh\n${lines.join('\n')}\n`);
    await chmod(join(bin, name), 0o755);
  };
  await symlink(process.execPath, join(bin, 'node'));
  await script('execlet', `exec '${process.execPath}' '${join(CHECKOUT, 'src', 'main.ts')}' "$@"`);
  const kubectl = (await findKubectls()).findLast(({ transports }) => transports.includes('websocket'));
  if (kubectl === undefined) throw new Error('the tests need a kubectl that speaks WebSocket');
  await symlink(kubectl.path, join(bin, 'kubectl'));
  const npm = await findExecutable('npm');
  if (npm === undefined) throw new Error('The tests need npm on PATH.');
  // The stage has no network but its loopback address: npm gets packages over the host's, with the user's own settings.
  await script(
    'npm',
    'case $1 in',
    `ci | install) HOME='${homedir()}' exec nsenter --target ${process.pid} --net '${npm}' "$@" ;;`,
    `*) exec '${npm}' "$@" ;;`,
    'esac',
  );
  await script('systemctl', ...SYSTEMCTL);
  await script('journalctl', 'exec cat /run/execlet.log');
  await mustRun('sh', ['-c', 'command -v docker ip nsenter unshare bash']);
}
