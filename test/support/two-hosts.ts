import { findExecutable, mustRun, runCommand } from './command.ts';
import { leaveToJanitor } from './cleanup.ts';
import { canInstallPackages, installPackages } from './debian.ts';

const SERVER_ADDRESS = '127.77.0.1';
const CLIENT_ADDRESS = '127.77.0.2';
const NO_RIGHT = /not permitted|permission denied/i;

/**
 * A server's and a client's host with a cable between them, as far as the network goes: two network namespaces of Linux.
 *
 * Their addresses are of 127.0.0.0/8, which is no loopback there, and which the daemon takes for one; so it may be open.
 */
export class TwoHosts {
  readonly serverAddress = SERVER_ADDRESS;
  readonly #server: string;
  readonly #client: string;
  readonly #forget: readonly (() => void)[];

  private constructor(name: string) {
    this.#server = `${name}-server`;
    this.#client = `${name}-client`;
    this.#forget = [this.#server, this.#client].map(namespace => leaveToJanitor({ kind: 'network', namespace }));
  }

  /** Makes them, or answers why that is not allowed here. */
  static async make(): Promise<TwoHosts | string> {
    const why = await whyNoNamespaces();
    if (why !== undefined) return why;
    const hosts = new TwoHosts(`execlet-test-${process.pid}`);
    await hosts.#build();
    return hosts;
  }

  /** What a command line is to begin with, to run on the server's host. */
  get onServer(): readonly [string, ...string[]] {
    return ['ip', 'netns', 'exec', this.#server];
  }

  get onClient(): readonly [string, ...string[]] {
    return ['ip', 'netns', 'exec', this.#client];
  }

  /** From now on nothing goes from one to the other, and neither is told. */
  async cut(): Promise<void> {
    await mustRun('ip', ['-n', this.#client, 'link', 'set', 'cable', 'down']);
  }

  async join(): Promise<void> {
    await mustRun('ip', ['-n', this.#client, 'link', 'set', 'cable', 'up']);
  }

  async remove(): Promise<void> {
    for (const namespace of [this.#server, this.#client]) await mustRun('ip', ['netns', 'delete', namespace]);
    for (const forget of this.#forget) forget();
  }

  async #build(): Promise<void> {
    for (const namespace of [this.#server, this.#client]) await mustRun('ip', ['netns', 'add', namespace]);
    const [server, client] = [this.#server, this.#client];
    const cable = (netns: string): string[] => ['name', 'cable', 'netns', netns];
    await mustRun('ip', ['link', 'add', ...cable(server), 'type', 'veth', 'peer', ...cable(client)]);
    for (const [namespace, address] of [
      [server, SERVER_ADDRESS],
      [client, CLIENT_ADDRESS],
    ] as const) {
      const allow = 'echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet';
      await mustRun('ip', ['netns', 'exec', namespace, 'sh', '-c', allow]);
      await mustRun('ip', ['-n', namespace, 'address', 'add', `${address}/30`, 'dev', 'cable']);
      await mustRun('ip', ['-n', namespace, 'link', 'set', 'cable', 'up']);
    }
  }
}

/** Why no network namespaces can be made here; undefined where they can. */
export async function whyNoNamespaces(): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'only Linux has network namespaces';
  if (process.getuid?.() !== 0) return 'only root may make network namespaces';
  if ((await findExecutable('ip')) === undefined) {
    if (!(await canInstallPackages())) return 'there is no ip on PATH to make network namespaces with';
    await installPackages(['iproute2']);
  }
  const tried = `execlet-test-${process.pid}-tried`;
  const { exitCode, stderr } = await runCommand('ip', ['netns', 'add', tried]);
  if (exitCode !== 0 && NO_RIGHT.test(stderr)) return `no right to make network namespaces: ${stderr.trim()}`;
  if (exitCode !== 0) throw new Error(`ip netns add: ${stderr}`);
  await mustRun('ip', ['netns', 'delete', tried]);
  return undefined;
}
