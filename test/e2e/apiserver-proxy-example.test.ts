import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import type { Issued } from '../support/authority.ts';
import { exitCodeOf, type CommandResult } from '../support/command.ts';
import { kubernetesLabels } from '../support/containers.ts';
import { oneKubectlPerTransport } from '../support/one-kubectl-per-transport.ts';
import { Terminal } from '../support/pty.ts';
import { TwoNodes, type TestNode } from '../support/two-nodes.ts';

type Client = (typeof clients)[number];
type User = 'alice' | 'eve' | 'bob' | 'nobody';

const FILE_BYTES = 5_000_000;
const OUTPUT_BYTES = 3_000_000;
/** A session that nobody ends is told from one that takes some half a minute. */
const CUT_TIMEOUT_MS = 120_000;
/** Waits for a line of input in the middle, so that a test can choose what happens there. */
const HELD = ['sh', '-c', `echo begun; read go; head -c ${OUTPUT_BYTES} /dev/zero | tr '\\0' x; exit 7`];

const clients = await oneKubectlPerTransport();
const two = await TwoNodes.make();
const { credentials, nodes } = two;
const [alice, eve] = await Promise.all([credentials.user('alice', 'dev'), credentials.user('eve')]);
const users: Record<User, readonly string[]> = {
  alice: await certificateFlags('alice', alice),
  eve: await certificateFlags('eve', eve),
  bob: ['--token', 'the-token'],
  nobody: ['--token', 'no-token'],
};
const trust = ['--certificate-authority', await credentials.file('servers.crt', credentials.servers.certificate)];

before(() =>
  two.start({
    tokens: ['the-token,bob,2,"ops,dev"'],
    beforeDaemon: async (engine, node) => {
      if (node !== nodes[1].name) return;
      const labels = kubernetesLabels({ namespace: 'shop', pod: 'stopped', container: 'app' });
      const stopped = await engine.createContainer({ labels, command: ['sh', '-c', 'exit 5'] });
      await stopped.docker.wait();
    },
  }),
);
after(() => two.stop());

for (const client of clients) {
  const { kubectl, transport } = client;
  describe(`${kubectl.name} over ${transport} through the example proxy`, () => {
    for (const node of nodes) {
      test(`${node.name}: output, exit code and input`, async () => {
        assert.equal((await run(client, 'alice', ['exec', node.pod, '--', 'echo', 'hi'])).stdout.toString(), 'hi\n');
        const done = await run(client, 'alice', ['exec', '-i', node.pod, '--', 'sh', '-c', 'cat; exit 42'], 'abcd');
        assert.deepEqual([done.stdout.toString(), done.exitCode], ['abcd', 42], done.stderr);
        const [session] = (await node.daemon.waitForSessionsEnded(2)).slice(-1);
        assert.deepEqual([session?.user, session?.pod, session?.transport], ['alice', node.pod, transport]);
      });

      test(`${node.name}: a file arrives whole, into the container and out of it`, async () => {
        const content = randomBytes(FILE_BYTES);
        const [there, back] = [`file-${transport}`, `${node.name}-${transport}-back`];
        const local = join(credentials.directory, `${node.name}-${transport}`);
        await writeFile(local, content);
        const into = await run(client, 'alice', ['cp', local, `${node.pod}:/tmp/${there}`]);
        assert.equal(into.exitCode, 0, into.stderr);
        const outOf = await run(client, 'alice', [
          'cp',
          `${node.pod}:/tmp/${there}`,
          join(credentials.directory, back),
        ]);
        assert.equal(outOf.exitCode, 0, outOf.stderr);
        assert.ok(content.equals(await readFile(join(credentials.directory, back))));
      });

      test(`${node.name}: a terminal, its size and its exit code`, async () => {
        const terminal = await openShell(client, node);
        await terminal.resize({ columns: 132, rows: 43 });
        terminal.type('until stty size | grep 132; do sleep 0.1; done\r');
        await terminal.expect(/\n43 132\r\n/);
        terminal.type('exit 3\r');
        assert.equal(await terminal.exited, 3);
      });
    }

    test('the pods of both nodes are one list', async () => {
      const { stdout, stderr } = await run(client, 'alice', ['get', 'pods', '--all-namespaces', '-o', 'wide']);
      assert.match(stdout.toString(), /^default +web-1 +1\/1 +Running.* node-1 /m, stderr);
      assert.match(stdout.toString(), /^default +web-2 +1\/1 +Running.* node-2 /m);
      assert.equal(stderr, '');
      const names = await run(client, 'alice', ['get', 'pods', '-o', 'jsonpath={.items[*].metadata.name}']);
      assert.equal(names.stdout.toString(), 'web-1 web-2');
    });

    test('a token is as good as a certificate, a wrong one is nobody', async () => {
      const done = await run(client, 'bob', ['exec', nodes[0].pod, '--', 'true']);
      assert.equal(done.exitCode, 0, done.stderr);
      const [session] = (await nodes[0].daemon.waitForSessionsEnded(1)).slice(-1);
      assert.equal(session?.user, 'bob');
      const nobody = await run(client, 'nobody', ['exec', nodes[0].pod, '--', 'true']);
      assert.equal(nobody.exitCode, 1);
      assert.match(nobody.stderr, /You must be logged in to the server|Unauthorized/);
    });

    test('whoever may not is told so by the node, in the name that the proxy knows them by', async () => {
      const { exitCode, stderr } = await run(client, 'eve', ['exec', nodes[1].pod, '--', 'true']);
      assert.equal(exitCode, 1);
      assert.ok(stderr.includes('User "eve" cannot create resource "pods/exec"'), stderr);
    });

    // kubectl asks for the namespace too, and shows that answer if it is a 404.
    test('a pod that no node has, in another namespace; and what became of one that has stopped there', async () => {
      const absent = await run(client, 'alice', ['-n', 'shop', 'exec', 'web-9', '--', 'true']);
      assert.equal(absent.stderr, 'Error from server (NotFound): pods "web-9" not found\n');
      const stopped = await run(client, 'alice', ['-n', 'shop', 'exec', 'stopped', '--', 'true']);
      assert.match(
        stopped.stderr,
        /: pods "stopped" not found: Container [0-9a-f]{64} is not running: exited \(5\)\n$/,
      );
    });

    test('kubectl debug fails with an error, and not with a panic', async () => {
      const { exitCode, stderr } = await run(client, 'alice', ['debug', nodes[0].pod, '--image=busybox']);
      assert.equal(exitCode, 1);
      assert.match(stderr, /the server could not find the requested resource/);
    });

    test('a pod that no node has, and a command that does not exist', async () => {
      const absent = await run(client, 'alice', ['exec', 'web-3', '--', 'true']);
      assert.deepEqual([absent.exitCode, absent.stderr.includes('pods "web-3" not found')], [1, true], absent.stderr);
      const failed = await run(client, 'alice', ['exec', nodes[1].pod, '--', 'no-such-command']);
      assert.equal(failed.exitCode, 1);
      assert.match(failed.stderr, /error executing command in container/);
    });
  });
}

describe('identity', () => {
  const path = `/api/v1/namespaces/default/pods/${nodes[0].pod}/exec?stdout=true&command=id`;
  const forged = {
    'X-Remote-User': 'alice',
    'X-Remote-Group': ['dev', 'system:masters'],
    'X-Remote-Extra-Scopes': 'all',
    'Audit-ID': 'forged',
    'X-Forwarded-For': '192.0.2.1',
  };

  for (const shape of ['GET', 'SPDY upgrade', 'WebSocket upgrade'] as const) {
    const asked = shape === 'GET' ? '/api/v1/pods' : path;
    test(`${shape}: without a credential, and with one of another CA, there is no access, whatever the headers say`, async () => {
      const stranger = await credentials.proxies.issue({ commonName: 'front-proxy', usages: ['client'] });
      for (const shown of [{ headers: forged }, { headers: forged, certificate: stranger }]) {
        const { status, body } = await credentials.ask(two.proxy.port, asked, shape, shown);
        assert.deepEqual([status, (JSON.parse(body) as { reason: string }).reason], [401, 'Unauthorized']);
      }
    });

    test(`${shape}: impersonation and web pages are refused`, async () => {
      for (const headers of [{ 'Impersonate-User': 'alice' }, { Origin: 'https://page.example' }]) {
        const { status } = await credentials.ask(two.proxy.port, asked, shape, { certificate: alice, headers });
        assert.equal(status, 403);
      }
    });
  }

  for (const shape of ['SPDY upgrade', 'WebSocket upgrade'] as const) {
    test(`${shape}: headers that name somebody else do not reach the node`, async () => {
      const refused = await credentials.ask(two.proxy.port, path, shape, { certificate: eve, headers: forged });
      assert.equal(refused.status, 403);
      assert.match((JSON.parse(refused.body) as { message: string }).message, /User "eve" cannot create/);

      const query = `${path}&env=KUBERNETES_EXEC_AUDIT_ID%3Dforged`;
      const headers = { ...forged, Authorization: 'Bearer not-for-the-node', Cookie: 'not=for-the-node' };
      const { status } = await credentials.ask(two.proxy.port, query, shape, { certificate: alice, headers });
      assert.equal(status, 101);
      const started = await recordOf(nodes[0], 'alice');
      assert.deepEqual(
        { ...started, auditId: typeof started?.auditId },
        {
          ...started,
          user: 'alice',
          groups: ['dev', 'system:authenticated'],
          proof: 'front_proxy',
          proxy: 'front-proxy',
          forwardedFor: '127.0.0.1',
          auditId: 'string',
        },
      );
      assert.notEqual(started?.auditId, 'forged');
    });
  }

  test('the same id stands in the logs of the proxy and of the node', async () => {
    const [client] = clients;
    await run(client, 'bob', ['exec', nodes[1].pod, '--', 'true']);
    const record = await recordOf(nodes[1], 'bob');
    const { user, node, status } = await two.proxy.untilEnded(({ auditId }) => auditId === record?.auditId);
    assert.deepEqual([user, node, status], ['bob', nodes[1].name, 101]);
  });

  test('nobody but the proxy may name users to a node', async () => {
    const { port } = nodes[0].daemon;
    const { status } = await credentials.ask(port, '/api/v1/pods', 'GET', {
      host: nodes[0].address,
      certificate: eve,
      headers: { 'X-Remote-User': 'alice', 'X-Remote-Group': 'dev' },
    });
    assert.equal(status, 200);
    const refused = await credentials.ask(port, path, 'SPDY upgrade', {
      host: nodes[0].address,
      certificate: eve,
      headers: forged,
    });
    assert.equal(refused.status, 403);
  });
});

describe('one of the nodes stops in the middle', () => {
  const [stays, goes] = nodes;

  /** Sessions on both nodes, over both transports, in their middle. */
  async function sessionsOnBoth(): Promise<{ staying: HeldSession[]; going: HeldSession[] }> {
    const open = async (node: TestNode): Promise<HeldSession[]> =>
      Promise.all(clients.map(client => openHeld(client, node)));
    const [staying, going] = await Promise.all([open(stays), open(goes)]);
    return { staying, going };
  }

  async function expectUnharmed(sessions: readonly HeldSession[]): Promise<void> {
    for (const session of sessions) {
      session.go();
      const { exitCode, stdout, stderr } = await session.ended;
      assert.equal(exitCode, 7, stderr);
      assert.equal(stdout.length, 'begun\n'.length + OUTPUT_BYTES);
    }
  }

  async function expectNamed(): Promise<void> {
    for (const client of clients) {
      const refused = await run(client, 'alice', ['exec', goes.pod, '--', 'true']);
      assert.equal(refused.exitCode, 1);
      assert.match(refused.stderr, /node node-2 does not answer/);
      const other = await run(client, 'alice', ['exec', stays.pod, '--', 'echo', 'here']);
      assert.equal(other.stdout.toString(), 'here\n', other.stderr);
      const list = await run(client, 'alice', ['get', 'pods', '--all-namespaces']);
      assert.match(list.stdout.toString(), /web-1/);
      assert.doesNotMatch(list.stdout.toString(), /web-2/);
      assert.match(list.stderr, /Warning: the pods of node node-2 are missing/);
    }
  }

  async function expectBack(): Promise<void> {
    for (const client of clients) {
      const back = await run(client, 'alice', ['exec', goes.pod, '--', 'echo', 'back']);
      assert.equal(back.stdout.toString(), 'back\n', back.stderr);
    }
  }

  test('its daemon is killed: its sessions fail, the others lose nothing, and whoever asks is told which node', async () => {
    const { staying, going } = await sessionsOnBoth();
    const shells = await Promise.all(clients.map(client => openShell(client, stays)));
    const lostShells = await Promise.all(clients.map(client => openShell(client, goes)));
    await goes.daemon.kill();
    for (const shell of lostShells) assert.notEqual(await shell.exited, 0);
    for (const shell of shells) {
      shell.type('echo $((9*9)); exit 5\r');
      await shell.expect(/\n81\r\n/);
      assert.equal(await shell.exited, 5);
    }
    for (const { ended } of going) {
      const { exitCode, stderr } = await ended;
      assert.notEqual(exitCode, 0, 'a session whose end is unknown may not count as a success');
      assert.match(stderr, /error: .*(the connection to node node-2 was lost|abnormal closure)/);
    }
    await expectUnharmed(staying);
    await expectNamed();
    await goes.startDaemon();
    await expectBack();
  });

  test(
    'its cable is cut: the same, although nobody tells the proxy',
    { skip: two.noNetworks ?? false, timeout: CUT_TIMEOUT_MS },
    async () => {
      const { staying, going } = await sessionsOnBoth();
      await goes.network?.cut();
      await expectUnharmed(staying);
      await expectNamed();
      for (const { ended } of going) {
        const { exitCode, stderr } = await ended;
        assert.notEqual(exitCode, 0, 'a session whose end is unknown may not count as a success');
        assert.match(stderr, /error: .*(the connection to node node-2 was lost|abnormal closure)/);
      }
      await goes.network?.join();
      await expectBack();
    },
  );
});

interface HeldSession {
  readonly go: () => void;
  readonly ended: Promise<CommandResult>;
}

/** Starts `HELD` on the node, and waits for its middle. */
async function openHeld(client: Client, node: TestNode): Promise<HeldSession> {
  const kubectl = await client.kubectl.against({ server: two.proxy.url, transport: client.transport });
  const child = kubectl.spawn([...trust, ...users.alice, 'exec', '-i', node.pod, '--', ...HELD]);
  child.stdin.on('error', () => undefined);
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
  const ended = once(child, 'close').then(() => ({
    exitCode: exitCodeOf(child.exitCode, child.signalCode),
    stdout: Buffer.concat(stdout),
    stderr: Buffer.concat(stderr).toString(),
  }));
  await Promise.race([
    once(child.stdout, 'data'),
    ended.then(({ stderr: said }) => Promise.reject(new Error(`kubectl ended too early: ${said}`))),
  ]);
  return { go: () => child.stdin.write('go\n'), ended };
}

function collect(stream: Readable): Buffer[] {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  return chunks;
}

/** A shell at a terminal on the node, which has answered. */
async function openShell({ kubectl, transport }: Client, { pod }: TestNode): Promise<Terminal> {
  const client = await kubectl.against({ server: two.proxy.url, transport });
  const commandLine = client.commandLine([...trust, ...users.alice, 'exec', '-it', pod, '--', 'sh']);
  const shell = await Terminal.open(commandLine, { columns: 91, rows: 31, env: client.env() });
  shell.type('echo $((6*7))\r');
  await shell.expect(/\n42\r\n/);
  return shell;
}

async function run(
  { kubectl, transport }: Client,
  user: User,
  args: readonly string[],
  stdin?: string,
): Promise<CommandResult> {
  const client = await kubectl.against({ server: two.proxy.url, transport });
  return client.run([...trust, ...users[user], ...args], stdin === undefined ? {} : { stdin });
}

async function certificateFlags(name: string, { cert, key }: Issued): Promise<string[]> {
  return [
    ...['--client-certificate', await credentials.file(`${name}.crt`, cert)],
    ...['--client-key', await credentials.file(`${name}.key`, key)],
  ];
}

/** The newest start of a session of that user in the node's session log. */
async function recordOf(node: TestNode, user: string): Promise<Record<string, unknown> | undefined> {
  const lines = (await readFile(node.sessionLog, 'utf8')).split('\n').filter(line => line !== '');
  return lines
    .map(line => JSON.parse(line) as Record<string, unknown>)
    .findLast(record => record.event === 'session_started' && record.user === user);
}
