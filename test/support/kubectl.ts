import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { readdir, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { leaveToJanitor, temporaryDirectory } from './cleanup.ts';
import { findExecutable, isExecutable, mustRun, runCommand, type CommandResult } from './command.ts';
import { isDebian, unpackPackage } from './debian.ts';

export type Transport = 'spdy' | 'websocket';

/** The first minor version of kubectl 1 whose `exec` knows WebSocket, and the first that begins with it unasked. */
const WEBSOCKET_SINCE = 29;
const WEBSOCKET_BY_DEFAULT_SINCE = 30;

export interface KubectlOptions {
  readonly stdin?: string | Buffer;
  /** Added to the few variables that kubectl gets. */
  readonly env?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

/** Where a kubectl talks to, and how. */
export interface KubectlTarget {
  /** `http://127.0.0.1:10350` */
  readonly server: string;
  /** What it is made to speak; without it, what it speaks unasked. */
  readonly transport?: Transport;
}

/** One version of kubectl, with a home directory of its own, no kubeconfig, and nothing else of our environment. */
export class Kubectl {
  /** For test titles: `kubectl 1.20.2`, or `kubectl 1.32.4-dispatcher`. */
  readonly name: string;
  /** Without the `v`. */
  readonly version: string;
  readonly path: string;
  readonly #minor: number;
  readonly #home: string;
  readonly #arguments: readonly string[];
  readonly #env: Readonly<Record<string, string>>;

  private constructor(of: {
    version: string;
    path: string;
    home: string;
    arguments?: readonly string[];
    env?: Readonly<Record<string, string>>;
  }) {
    this.name = `kubectl ${of.version}`;
    this.version = of.version;
    this.path = of.path;
    this.#minor = Number(of.version.split('.')[1]);
    this.#home = of.home;
    this.#arguments = of.arguments ?? [];
    this.#env = of.env ?? {};
  }

  /** Asks the program for its version. */
  static async at(path: string): Promise<Kubectl> {
    const home = await temporaryDirectory('kubectl');
    const json = await mustRun(path, ['version', '--client', '--output=json'], { env: minimalEnv(home.path) });
    const { clientVersion } = versionReport.parse(JSON.parse(json));
    return new Kubectl({ version: clientVersion.gitVersion.replace(/^v/, ''), path, home: home.path });
  }

  /** What it can be made to speak, what it speaks unasked first. */
  get transports(): readonly Transport[] {
    if (this.#minor < WEBSOCKET_SINCE) return ['spdy'];
    return this.#minor < WEBSOCKET_BY_DEFAULT_SINCE ? ['spdy', 'websocket'] : ['websocket', 'spdy'];
  }

  /** The same kubectl with a fresh home, for that server and transport. Give every test one of its own. */
  async against({ server, transport }: KubectlTarget): Promise<Kubectl> {
    if (transport !== undefined && !this.transports.includes(transport)) {
      throw new Error(`${this.name} cannot speak ${transport}`);
    }
    const home = await temporaryDirectory('kubectl');
    return new Kubectl({
      version: this.version,
      path: this.path,
      home: home.path,
      arguments: ['--server', server],
      env: transport === undefined ? {} : { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: String(transport === 'websocket') },
    });
  }

  /** Runs it to its end. Without `stdin` it reads nothing. */
  async run(args: readonly string[], { env = {}, ...options }: KubectlOptions = {}): Promise<CommandResult> {
    return runCommand(this.path, [...this.#arguments, ...args], { ...options, env: this.env(env) });
  }

  /** Starts it with three pipes; it is killed when the test process ends at the latest. */
  spawn(args: readonly string[], { env = {} }: Pick<KubectlOptions, 'env'> = {}): ChildProcessWithoutNullStreams {
    const child = spawn(this.path, [...this.#arguments, ...args], { env: this.env(env), stdio: 'pipe' });
    if (child.pid !== undefined) child.once('exit', leaveToJanitor({ kind: 'process', pid: child.pid }));
    return child;
  }

  /** Program and arguments, for a terminal; to be run with `env()`. */
  commandLine(args: readonly string[]): [string, ...string[]] {
    return [this.path, ...this.#arguments, ...args];
  }

  /** The whole environment it gets. */
  env(more: Readonly<Record<string, string>> = {}): Record<string, string> {
    return { ...minimalEnv(this.#home), ...this.#env, ...more };
  }
}

/**
 * Every kubectl to test with, oldest first: the one on PATH and, where that is a dispatcher, the versions beside it; Debian's
 * 1.20, and one of 1.30 or newer where PATH has none, both of which are downloaded into `.cache/` and not installed.
 *
 * @throws where one is missing, with what to do
 */
export async function findKubectls(): Promise<Kubectl[]> {
  const found = await kubectlsOnPath();
  if (!found.some(({ version }) => version.startsWith('1.20.'))) {
    found.push(await debianKubectl('kubectl 1.20', { suite: 'bookworm', packageName: 'kubernetes-client' }));
  }
  if (!found.some(({ transports }) => transports[0] === 'websocket')) {
    found.push(await debianKubectl('kubectl 1.30 or newer', { suite: 'stable', packageName: 'kubectl' }));
  }
  return found.sort((a, b) => a.version.localeCompare(b.version, 'en', { numeric: true }));
}

/** The kubectl on PATH, where there is one, first; then the `kubectl.1.NN` beside it. */
export async function kubectlsOnPath(): Promise<Kubectl[]> {
  const first = await findExecutable('kubectl');
  if (first === undefined) return [];
  const directory = dirname(await realpath(first));
  const versions = (await readdir(directory)).filter(name => /^kubectl\.1\.\d+$/.test(name));
  const paths = [first, ...versions.map(name => join(directory, name))];
  return Promise.all(paths.map(path => Kubectl.at(path)));
}

const versionReport = z.object({ clientVersion: z.object({ gitVersion: z.string() }) });

async function debianKubectl(
  what: string,
  { suite, packageName }: { suite: string; packageName: string },
): Promise<Kubectl> {
  try {
    if (!(await isDebian())) throw new Error('Only on Debian can the tests fetch one by themselves.');
    const path = join(await unpackPackage(packageName, suite), 'usr', 'bin', 'kubectl');
    if (!(await isExecutable(path))) throw new Error(`Package ${packageName} of Debian ${suite} holds no kubectl.`);
    return await Kubectl.at(path);
  } catch (cause) {
    throw new Error(`The tests need ${what}. Put one on PATH as kubectl, or beside that one as kubectl.1.NN.`, {
      cause,
    });
  }
}

function minimalEnv(home: string): Record<string, string> {
  return { HOME: home, PATH: process.env.PATH ?? '/usr/bin:/bin' };
}
