import { join } from 'node:path';
import { Credentials } from './access.ts';
import { kubernetesLabels, type TestContainer } from './containers.ts';
import { Daemon } from './daemon.ts';
import { startTestEngine, type TestEngine } from './engine.ts';
import { ExampleProxy } from './example-proxy.ts';
import { NodeNetwork } from './node-networks.ts';

const RULES = 'rules: [{ groups: [dev], verbs: [exec, get, list] }, { users: [eve], verbs: [get, list] }]\n';
const LOOPBACK = '127.0.0.1';

/** What is done on each node before its daemon starts. */
type BeforeDaemon = (engine: TestEngine, node: string) => Promise<void>;

/** A node: a network where that can be made, an Engine, a container known as `default/POD/app`, and a daemon. */
export class TestNode {
  readonly name: string;
  readonly pod: string;
  readonly network: NodeNetwork | undefined;
  /** Its session log. */
  readonly sessionLog: string;
  readonly #arguments: readonly string[];
  #engine: TestEngine | undefined;
  #container: TestContainer | undefined;
  #daemon: Daemon | undefined;

  constructor(of: { name: string; pod: string; network: NodeNetwork | undefined; sessionLog: string; args: string[] }) {
    this.name = of.name;
    this.pod = of.pod;
    this.network = of.network;
    this.sessionLog = of.sessionLog;
    this.#arguments = of.args;
  }

  get address(): string {
    return this.network?.address ?? LOOPBACK;
  }

  get daemon(): Daemon {
    if (this.#daemon === undefined) throw new Error(`${this.name} has not been started`);
    return this.#daemon;
  }

  get container(): TestContainer {
    if (this.#container === undefined) throw new Error(`${this.name} has not been started`);
    return this.#container;
  }

  /** `beforeDaemon` may make containers that the daemon finds when it starts. */
  async start(beforeDaemon: BeforeDaemon = () => Promise.resolve()): Promise<void> {
    this.#engine = await startTestEngine();
    this.#engine.requirePrivate(); // two nodes of one Engine would serve the same containers
    const labels = kubernetesLabels({ namespace: 'default', pod: this.pod, container: 'app' });
    this.#container = await this.#engine.createContainer({ labels });
    await beforeDaemon(this.#engine, this.name);
    await this.startDaemon();
  }

  /** Starts it, also again: on the port that it had. */
  async startDaemon(): Promise<void> {
    const port = this.#daemon === undefined ? [] : ['--port', String(this.#daemon.port)];
    if (this.#engine === undefined) throw new Error(`${this.name} has no Engine yet`);
    const args = [...this.#arguments, '--address', this.address, ...port];
    this.#daemon = await Daemon.start({ engine: this.#engine, args, runner: this.network?.runner ?? [] });
  }

  async stop(): Promise<void> {
    await this.#daemon?.stop(null); // a test that failed may have left it killed
    await this.#engine?.stop();
    await this.network?.remove();
  }
}

/** Two nodes behind `examples/apiserver-proxy`, and the credentials of everybody. */
export class TwoNodes {
  readonly credentials: Credentials;
  readonly nodes: readonly [TestNode, TestNode];
  /** Why the nodes have no networks of their own; undefined where they have. */
  readonly noNetworks: string | undefined;
  #proxy: ExampleProxy | undefined;

  private constructor(of: {
    credentials: Credentials;
    nodes: readonly [TestNode, TestNode];
    noNetworks: string | undefined;
  }) {
    this.credentials = of.credentials;
    this.nodes = of.nodes;
    this.noNetworks = of.noNetworks;
  }

  static async make(): Promise<TwoNodes> {
    const credentials = await Credentials.make('two-nodes');
    const networks = await NodeNetwork.make(2);
    const node = async (index: 0 | 1): Promise<TestNode> => {
      const name = `node-${index + 1}`;
      const network = typeof networks === 'string' ? undefined : networks[index];
      const sans = [network?.address ?? LOOPBACK];
      const { cert, key } = await credentials.servers.issue({ commonName: name, usages: ['server'], sans });
      const sessionLog = join(credentials.directory, `${name}.log`);
      const args = [
        ...['--node-name', name, '--session-log', sessionLog],
        ...['--tls-cert-file', await credentials.file(`${name}.crt`, cert)],
        ...['--tls-private-key-file', await credentials.file(`${name}.key`, key)],
        ...(await credentials.clientCertificates()),
        ...(await credentials.rules(RULES)),
      ];
      return new TestNode({ name, pod: `web-${index + 1}`, network, sessionLog, args });
    };
    const nodes = [await node(0), await node(1)] as const;
    return new TwoNodes({ credentials, nodes, noNetworks: typeof networks === 'string' ? networks : undefined });
  }

  get proxy(): ExampleProxy {
    if (this.#proxy === undefined) throw new Error('the proxy has not been started');
    return this.#proxy;
  }

  /** `tokens` are for the proxy's token file. */
  async start(of: { tokens?: readonly string[]; beforeDaemon?: BeforeDaemon } = {}): Promise<void> {
    const { tokens = [], beforeDaemon } = of;
    for (const node of this.nodes) await node.start(beforeDaemon);
    const nodes = this.nodes.map(({ name, address, daemon }) => ({ name, url: `https://${address}:${daemon.port}` }));
    this.#proxy = await ExampleProxy.start(this.credentials, { nodes, tokens });
  }

  async stop(): Promise<void> {
    await this.#proxy?.stop();
    for (const node of this.nodes) await node.stop();
  }
}
