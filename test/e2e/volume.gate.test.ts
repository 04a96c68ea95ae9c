import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { writeServerCertificate } from '../support/certificates.ts';
import { temporaryDirectory } from '../support/cleanup.ts';
import { Daemon } from '../support/daemon.ts';
import { gateSize } from '../support/gates.ts';
import { RandomFile, runHashed, sha256Of, type Pace } from '../support/hashed-exec.ts';
import type { Kubectl, Transport } from '../support/kubectl.ts';
import { oneKubectlPerTransport } from '../support/one-kubectl-per-transport.ts';
import { serveWeb } from '../support/served.ts';

const MIB = 1024 * 1024;
const UNLIMITED_BYTES = gateSize({ full: 1024 * MIB, short: 32 * MIB });
const SLOW = [
  { bytesPerSecond: 1_000_000, bytes: gateSize({ full: 60_000_000, short: 3_000_000 }) },
  { bytesPerSecond: 10_000_000, bytes: gateSize({ full: 200_000_000, short: 20_000_000 }) },
];

const clients = await oneKubectlPerTransport();
const { path: directory } = await temporaryDirectory('volume');
const { certFile, keyFile } = await writeServerCertificate(directory);

const served = serveWeb();
let random: RandomFile | undefined;

interface Transfer extends Pace {
  readonly client: Kubectl;
  /** Before `exec`. */
  readonly flags: readonly string[];
  readonly bytes: number;
}

const DIRECTIONS: Record<string, (transfer: Transfer) => Promise<void>> = {
  stdout: async ({ client, flags, bytes, ...pace }) => {
    assert.ok(random !== undefined);
    const args = [...flags, 'exec', 'web', '--', 'head', '-c', String(bytes), random.path];
    const { exitCode, stdout, stderr } = await runHashed(client, args, pace);
    assert.deepEqual(stdout, await random.start(bytes), stderr);
    assert.equal(exitCode, 0, stderr);
  },
  stdin: async ({ client, flags, bytes, ...pace }) => {
    const file = `/tmp/${client.version}-${flags.length}-${bytes}`; // unlike that of any transfer at the same time
    const command = `{ ${catAt(pace, bytes)}; } | sha256sum > ${file}`;
    const args = [...flags, 'exec', '-i', 'web', '--', 'sh', '-c', command];
    const { exitCode, stdin, stderr } = await runHashed(client, args, { stdinBytes: bytes });
    assert.equal(exitCode, 0, stderr);
    assert.equal(sha256Of((await served.web.exec(['cat', file])).stdout), stdin.sha256);
  },
  'stdin and stdout at once': async ({ client, flags, bytes, ...pace }) => {
    const args = [...flags, 'exec', '-i', 'web', '--', 'sh', '-c', catAt(pace, bytes)];
    const { exitCode, stdin, stdout, stderr } = await runHashed(client, args, { stdinBytes: bytes, ...pace });
    assert.deepEqual(stdout, stdin, stderr);
    assert.equal(exitCode, 0, stderr);
  },
};

for (const scheme of ['http', 'https']) {
  describe(scheme, () => {
    let daemon: Daemon;
    before(async () => {
      random ??= await RandomFile.make(served.web, UNLIMITED_BYTES);
      const args = scheme === 'https' ? ['--tls-cert-file', certFile, '--tls-private-key-file', keyFile] : [];
      daemon = await Daemon.start({ engine: served.engine, args });
    });
    after(async () => {
      await daemon.stop();
    });
    // Without a credential kubectl asks for a user name before it speaks TLS.
    const flags = scheme === 'https' ? ['--certificate-authority', certFile, '--token', 'unused'] : [];

    const against = async (kubectl: Kubectl, transport: Transport): Promise<Kubectl> =>
      kubectl.against({ server: `${scheme}://127.0.0.1:${daemon.port}`, transport });

    for (const { kubectl, transport } of clients) {
      for (const [direction, run] of Object.entries(DIRECTIONS)) {
        test(`${kubectl.name} over ${transport}: ${UNLIMITED_BYTES / MIB} MiB through ${direction}`, async () => {
          const before = daemon.sessionsEnded().length;
          await run({ client: await against(kubectl, transport), flags, bytes: UNLIMITED_BYTES });
          assert.equal((await daemon.waitForSessionsEnded(before + 1)).at(-1)?.transport, transport);
        });
      }
    }

    describe('slow readers, all at once', { concurrency: true }, () => {
      for (const { kubectl, transport } of clients) {
        for (const { bytesPerSecond, bytes } of SLOW) {
          for (const [direction, run] of Object.entries(DIRECTIONS)) {
            const title = `${bytes / 1e6} MB at ${bytesPerSecond / 1e6} MB/s through ${direction}`;
            test(`${kubectl.name} over ${transport}: ${title}`, async () => {
              await run({ client: await against(kubectl, transport), flags, bytes, bytesPerSecond });
            });
          }
        }
      }
    });
  });
}

/** A shell command that copies its input to its output at that pace. */
function catAt({ bytesPerSecond }: Pace, bytes: number): string {
  if (bytesPerSecond === undefined) return 'cat';
  const block = bytesPerSecond / 10;
  return `for i in $(seq ${bytes / block}); do dd bs=${block} count=1 iflag=fullblock 2>/dev/null; sleep 0.1; done`;
}
