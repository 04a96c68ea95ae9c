import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Credentials } from '../support/access.ts';
import type { Issued } from '../support/authority.ts';
import { CHECKOUT } from '../support/checkout.ts';
import { runCommand, type CommandResult } from '../support/command.ts';
import type { Daemon } from '../support/daemon.ts';
import { oneKubectlPerTransport } from '../support/one-kubectl-per-transport.ts';
import { serveWeb } from '../support/served.ts';

const clients = await oneKubectlPerTransport();
const credentials = await Credentials.make('kubectl-access');
const [alice, eve] = await Promise.all([credentials.user('alice', 'dev'), credentials.user('eve')]);
const args = [
  ...(await credentials.tls()),
  ...(await credentials.clientCertificates()),
  ...(await credentials.tokens(['the-token,bob,2,dev'])),
  ...(await credentials.rules(
    'rules: [{ groups: [dev], verbs: [exec, get, list] }, { users: [eve], verbs: [get] }]\n',
  )),
];
let files: Record<'certificate' | 'token' | 'wrong token' | 'eve', string>;
const served = serveWeb({
  args,
  afterDaemon: async daemon => {
    files = {
      certificate: await kubeconfig(daemon, 'alice.yaml', await certificateFlags('alice', alice)),
      token: await kubeconfig(daemon, 'bob.yaml', ['--token', 'the-token']),
      'wrong token': await kubeconfig(daemon, 'nobody.yaml', ['--token', 'no-token']),
      eve: await kubeconfig(daemon, 'eve.yaml', await certificateFlags('eve', eve)),
    };
  },
});

/** What `execlet kubeconfig` prints for a credential, in a file. */
async function kubeconfig({ port }: Daemon, name: string, args: readonly string[]): Promise<string> {
  const printed = await runCommand(process.execPath, [
    ...[join(CHECKOUT, 'src', 'main.ts'), 'kubeconfig', '--server', `https://127.0.0.1:${port}`],
    ...['--certificate-authority', await credentials.file('servers.crt', credentials.servers.certificate), ...args],
  ]);
  assert.equal(printed.exitCode, 0, printed.stderr);
  return credentials.file(name, printed.stdout.toString());
}

async function certificateFlags(name: string, { cert, key }: Issued): Promise<string[]> {
  return [
    ...['--client-certificate', await credentials.file(`${name}.crt`, cert)],
    ...['--client-key', await credentials.file(`${name}.key`, key)],
  ];
}

for (const { kubectl, transport } of clients) {
  describe(`${kubectl.name} over ${transport}, with what execlet kubeconfig prints`, () => {
    async function run(file: keyof typeof files, args: readonly string[], stdin?: string): Promise<CommandResult> {
      const client = await kubectl.against({ server: `https://127.0.0.1:${served.daemon.port}`, transport });
      return client.run(['--kubeconfig', files[file], ...args], stdin === undefined ? {} : { stdin });
    }

    for (const credential of ['certificate', 'token'] as const) {
      test(`a ${credential} lists pods, runs a command and gets its exit code`, async () => {
        const pods = await run(credential, ['get', 'pods']);
        assert.match(pods.stdout.toString(), /^web +1\/1 +Running/m, pods.stderr);
        const done = await run(credential, ['exec', '-i', 'web', '--', 'sh', '-c', 'cat; exit 42'], 'hi\n');
        assert.deepEqual([done.stdout.toString(), done.exitCode], ['hi\n', 42], done.stderr);
        const user = credential === 'certificate' ? 'alice' : 'bob';
        const [session] = (await served.daemon.waitForSessionsEnded(1)).slice(-1);
        assert.deepEqual([session?.user, session?.transport], [user, transport]);
      });
    }

    test('a token that is not known is told to log in', async () => {
      const { exitCode, stderr } = await run('wrong token', ['exec', 'web', '--', 'true']);
      assert.equal(exitCode, 1);
      assert.match(stderr, /You must be logged in to the server|Unauthorized/);
    });

    test('whoever may not is told why', async () => {
      for (const [args, verb] of [
        [['exec', 'web', '--', 'true'], 'create resource "pods/exec"'],
        [['get', 'pods'], 'list resource "pods"'],
      ] as const) {
        const { exitCode, stderr } = await run('eve', args);
        assert.equal(exitCode, 1);
        assert.ok(stderr.includes(`User "eve" cannot ${verb}`), stderr);
      }
    });
  });
}
