import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, mkdir, readFile, readlink, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { CHECKOUT } from './checkout.ts';
import { leaveToJanitor, temporaryDirectory } from './cleanup.ts';
import { exitCodeOf, findExecutable, runCommand } from './command.ts';
import type { SystemdAnalyze, Unit as Directives } from './systemd-unit.ts';

/** As DynamicUser= takes one: above 61184, and nobody's. */
const USER = 64_217;
const START_TIMEOUT_MS = 20_000;
const readyLine = z.object({ event: z.literal('ready'), port: z.int() });

/** What the unit says by directives that have no meaning here, or of which more is taken away than they say. */
const NOT_TRANSLATED = new Set([
  ...['Description', 'After', 'Type', 'ExecReload', 'RestartPreventExitStatus', 'Restart', 'RestartSec', 'WantedBy'],
  'TimeoutStopSec', // the test's own wait
  // The file system has only what is listed below.
  ...['ProtectControlGroups', 'ProtectHome', 'ProtectKernelLogs', 'ProtectKernelTunables', 'PrivateMounts'],
  // Their system calls are refused to everybody by the filter, or take capabilities that it does not have.
  ...['ProtectClock', 'ProtectHostname', 'ProtectKernelModules', 'RestrictRealtime', 'RestrictNamespaces'],
  ...['RestrictSUIDSGID', 'RestrictAddressFamilies', 'LockPersonality', 'SystemCallArchitectures'],
]);

export interface SandboxOptions {
  readonly unit: Directives;
  readonly analyze: SystemdAnalyze;
  /** `unix:///path` */
  readonly dockerHost: string;
  /** The text of /etc/execlet/execlet.yaml. */
  readonly config: string;
}

/**
 * The unit's daemon under the unit's restrictions, as far as they can be had without systemd: runc applies its user, capabilities,
 * filter of system calls, and a file system that is read-only but for its own directories. Every directive is either
 * translated or named above, so one that is new in the unit fails until somebody has decided.
 */
export class UnitSandbox {
  readonly url: string;
  readonly pid: number;
  /** What stands for /var/log/execlet. */
  readonly logs: string;
  readonly #runc: ChildProcess;
  readonly #exited: Promise<number>;
  readonly #log: readonly string[];

  private constructor(of: {
    port: number;
    pid: number;
    logs: string;
    runc: ChildProcess;
    exited: Promise<number>;
    log: readonly string[];
  }) {
    this.url = `http://127.0.0.1:${of.port}`;
    this.pid = of.pid;
    this.logs = of.logs;
    this.#runc = of.runc;
    this.#exited = of.exited;
    this.#log = of.log;
  }

  /** Resolves when the daemon is ready. */
  static async start({ unit: directives, analyze, dockerHost, config }: SandboxOptions): Promise<UnitSandbox> {
    const runc = await findExecutable('runc');
    if (runc === undefined) throw new Error('The test needs runc, which comes with the Engine, on PATH.');
    const unit = new Unit(directives);
    const { path } = await temporaryDirectory('unit');
    await chmod(path, 0o755);
    const socket = new URL(dockerHost).pathname;
    const directories = await makeDirectories(path, unit);
    await writeFile(join(directories.etc, 'execlet.yaml'), config, { mode: 0o644 });
    const rootfs = await makeRoot(path);
    await writeFile(
      join(path, 'config.json'),
      JSON.stringify({
        ociVersion: '1.0.2',
        process: processOf(unit, (await stat(socket)).gid),
        root: { path: rootfs, readonly: unit.only('ProtectSystem', 'strict') },
        mounts: mountsOf(unit, { socket, ...directories }),
        // The host's pids and network: no namespaces for these.
        linux: { namespaces: [{ type: 'mount' }], seccomp: await filterOf(unit, analyze) },
      }),
    );
    unit.refuseUnknown();
    const id = `execlet-unit-${process.pid}`;
    const pidFile = join(path, 'pid');
    const child = spawn(runc, ['--root', join(path, 'state'), 'run', '--bundle', path, '--pid-file', pidFile, id], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const log: string[] = [];
    createInterface({ input: child.stderr }).on('line', line => log.push(line));
    const exited = once(child, 'close').then(() => exitCodeOf(child.exitCode, child.signalCode));
    const lines = createInterface({ input: child.stdout });
    const line = once(lines, 'line', { signal: AbortSignal.timeout(START_TIMEOUT_MS) }) as Promise<[string]>;
    const [ready] = await Promise.race([line, exited.then(code => [`ended with ${code}`])]).catch(() => ['no line']);
    const parsed = readyLine.safeParse(parseJson(ready));
    if (!parsed.success) {
      child.kill('SIGKILL');
      throw new Error(`the daemon did not become ready under the unit's restrictions: ${ready}\n${log.join('\n')}`);
    }
    const pid = Number(await readFile(pidFile, 'utf8'));
    const forget = leaveToJanitor({ kind: 'process', pid });
    void exited.then(forget);
    return new UnitSandbox({ ...parsed.data, pid, logs: directories.logs, runc: child, exited, log });
  }

  /** Whether the daemon's user, or root, could write there in the daemon's file system. */
  async isWritable(path: string, by: 'user' | 'root'): Promise<boolean> {
    const user = ['setpriv', `--reuid=${USER}`, `--regid=${USER}`, '--clear-groups'];
    const command = [...(by === 'user' ? user : []), 'test', '-w', path];
    return (await runCommand('nsenter', ['--target', String(this.pid), '--mount', ...command])).exitCode === 0;
  }

  reload(): void {
    process.kill(this.pid, 'SIGHUP');
  }

  /** Stops it as systemd would, and answers the exit code. */
  async stop(): Promise<number> {
    this.#runc.kill('SIGTERM'); // which runc passes on
    return this.#exited;
  }

  logTail(): string {
    return this.#log.slice(-20).join('\n');
  }
}

async function makeRoot(path: string): Promise<string> {
  const root = join(path, 'root');
  for (const directory of ['usr', 'etc', 'proc', 'dev', 'tmp', 'run', 'var', 'opt']) {
    await mkdir(join(root, directory), { recursive: true });
  }
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
    const target = await readlink(join('/', name)).catch(() => undefined);
    if (target !== undefined) await symlink(target, join(root, name));
  }
  await symlink('/run', join(root, 'var', 'run'));
  await chmod(join(root, 'tmp'), 0o1777); // which is what is mounted there gets
  return root;
}

interface Directories {
  readonly etc: string;
  readonly state: string;
  readonly logs: string;
  readonly cache: string;
}

async function makeDirectories(path: string, unit: Unit): Promise<Directories> {
  const make = async (name: string, mode: string | undefined): Promise<string> => {
    const directory = join(path, name);
    await mkdir(directory);
    await chmod(directory, parseInt(mode ?? '0755', 8));
    if (mode !== undefined) await chown(directory, USER, USER);
    return directory;
  };
  return {
    etc: await make('etc', undefined),
    state: await make('state-directory', unit.value('StateDirectoryMode')),
    logs: await make('logs', unit.value('LogsDirectoryMode')),
    cache: await make('cache', unit.value('CacheDirectoryMode')),
  };
}

function processOf(unit: Unit, dockerGroup: number): unknown {
  unit.only('DynamicUser', 'yes');
  unit.only('SupplementaryGroups', 'docker');
  const capabilities = [unit.value('CapabilityBoundingSet')];
  const ambient = [unit.value('AmbientCapabilities')];
  const environment = unit.value('Environment').replace('%C', '/var/cache');
  // The package's own command line, with the checkout in its place.
  const command = unit.value('ExecStart').replace(/^\/usr\/bin\/env execlet /, '');
  return {
    user: { uid: USER, gid: USER, additionalGids: [dockerGroup], umask: parseInt(unit.value('UMask'), 8) },
    args: ['/opt/node/bin/node', '/opt/execlet/src/main.ts', ...command.split(' ')],
    env: ['PATH=/usr/bin:/bin', environment],
    cwd: '/',
    capabilities: {
      bounding: capabilities,
      permitted: capabilities,
      inheritable: ambient,
      effective: ambient,
      ambient,
    },
    noNewPrivileges: unit.only('NoNewPrivileges', 'yes'),
  };
}

function mountsOf(unit: Unit, { socket, etc, state, logs, cache }: Directories & { socket: string }): unknown[] {
  unit.only('PrivateDevices', 'yes');
  unit.only('PrivateTmp', 'yes');
  const node = dirname(dirname(process.execPath));
  const bind = (source: string, destination: string, access: 'ro' | 'rw'): unknown => ({
    destination,
    source,
    type: 'bind',
    options: ['rbind', access],
  });
  return [
    { destination: '/proc', type: 'proc', source: 'proc' },
    { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'noexec', 'mode=755'] },
    { destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'mode=1777'] },
    bind('/usr', '/usr', 'ro'),
    bind(CHECKOUT, '/opt/execlet', 'ro'),
    bind(node, '/opt/node', 'ro'),
    bind(etc, '/etc/execlet', 'ro'),
    bind(socket, '/run/docker.sock', 'rw'),
    bind(state, `/var/lib/${unit.value('StateDirectory')}`, 'rw'),
    bind(logs, `/var/log/${unit.value('LogsDirectory')}`, 'rw'),
    bind(cache, `/var/cache/${unit.value('CacheDirectory')}`, 'rw'),
  ];
}

/** systemd always allows what a program needs to start and end: its set `@default`. */
async function filterOf(unit: Unit, analyze: SystemdAnalyze): Promise<unknown> {
  const allowed = await analyze.systemCalls('@default');
  const always = new Set(allowed);
  for (const line of unit.values('SystemCallFilter')) {
    const sets = line.replace(/^~/, '').split(' ');
    for (const set of sets) {
      for (const call of await analyze.systemCalls(set)) {
        if (!line.startsWith('~')) allowed.add(call);
        else if (!always.has(call)) allowed.delete(call);
      }
    }
  }
  unit.only('SystemCallErrorNumber', 'EPERM');
  return { defaultAction: 'SCMP_ACT_ERRNO', syscalls: [{ names: [...allowed], action: 'SCMP_ACT_ALLOW' }] };
}

/** A unit that knows what of it was read. */
class Unit {
  readonly #directives: Directives;
  readonly #read = new Set<string>(NOT_TRANSLATED);

  constructor(directives: Directives) {
    this.#directives = directives;
  }

  values(name: string): readonly string[] {
    this.#read.add(name);
    return this.#directives.get(name) ?? [];
  }

  value(name: string): string {
    const [first, second] = this.values(name);
    if (first === undefined || second !== undefined) throw new Error(`the unit has not one ${name}=`);
    return first;
  }

  only(name: string, expected: string): true {
    if (this.value(name) !== expected) throw new Error(`the sandbox knows ${name}=${expected} only`);
    return true;
  }

  refuseUnknown(): void {
    const unknown = [...this.#directives.keys()].filter(name => !this.#read.has(name));
    if (unknown.length > 0) throw new Error(`the sandbox does not know what to make of ${unknown.join(', ')}`);
  }
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
