import { leaveToJanitor } from './cleanup.ts';
import { mustRun } from './command.ts';
import { whyNoNamespaces } from './two-hosts.ts';

/** Of 198.18.0.0/15, which is for tests of networks and is nobody's. */
const NETWORK = '198.18';

/** A host of its own as far as the network goes, with a cable to ours: a network namespace of Linux. */
export class NodeNetwork {
  readonly address: string;
  readonly #namespace: string;
  readonly #forget: () => void;

  private constructor(namespace: string, address: string) {
    this.#namespace = namespace;
    this.address = address;
    this.#forget = leaveToJanitor({ kind: 'network', namespace });
  }

  /** Makes that many, or answers why that is not allowed here. */
  static async make(count: number): Promise<NodeNetwork[] | string> {
    const why = await whyNoNamespaces();
    if (why !== undefined) return why;
    const networks: NodeNetwork[] = [];
    for (let index = 0; index < count; index += 1) networks.push(await NodeNetwork.#build(index));
    return networks;
  }

  static async #build(index: number): Promise<NodeNetwork> {
    const namespace = `execlet-test-${process.pid}-node-${index}`;
    const [here, there] = [1, 2].map(host => `${NETWORK}.${process.pid % 256}.${4 * index + host}`);
    if (here === undefined || there === undefined) throw new Error('no addresses');
    await mustRun('ip', ['netns', 'add', namespace]);
    const network = new NodeNetwork(namespace, there);
    const ours = `node${process.pid}-${index}`; // 15 characters at most
    await mustRun('ip', ['link', 'add', ours, 'type', 'veth', 'peer', 'name', 'cable', 'netns', namespace]);
    await mustRun('ip', ['address', 'add', `${here}/30`, 'dev', ours]);
    await mustRun('ip', ['link', 'set', ours, 'up']);
    await mustRun('ip', ['-n', namespace, 'address', 'add', `${there}/30`, 'dev', 'cable']);
    await mustRun('ip', ['-n', namespace, 'link', 'set', 'cable', 'up']);
    return network;
  }

  /** What a command line is to begin with, to run there. */
  get runner(): readonly [string, ...string[]] {
    return ['ip', 'netns', 'exec', this.#namespace];
  }

  /** From now on nothing goes there or comes from there, and neither side is told. */
  async cut(): Promise<void> {
    await mustRun('ip', ['-n', this.#namespace, 'link', 'set', 'cable', 'down']);
  }

  async join(): Promise<void> {
    await mustRun('ip', ['-n', this.#namespace, 'link', 'set', 'cable', 'up']);
  }

  async remove(): Promise<void> {
    await mustRun('ip', ['netns', 'delete', this.#namespace]); // and with it the cable
    this.#forget();
  }
}
