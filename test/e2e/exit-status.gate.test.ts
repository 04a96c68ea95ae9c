import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { before, describe, test } from 'node:test';
import { gateCount, times } from '../support/gates.ts';
import type { Kubectl } from '../support/kubectl.ts';
import { oneKubectlPerTransport } from '../support/one-kubectl-per-transport.ts';
import { serveWeb } from '../support/served.ts';
import { KILLING_SIGNALS } from '../support/signals.ts';

const ROUNDS = gateCount(1_000);
const EXIT_CODES = 256; // every one, always
const CONCURRENCY = 4;

const clients = await oneKubectlPerTransport();

const served = serveWeb();

for (const { kubectl, transport } of clients) {
  describe(`${kubectl.name} over ${transport}`, () => {
    let client: Kubectl;
    before(async () => {
      client = await kubectl.against({ server: served.daemon.url, transport });
    });

    async function exec(...command: string[]): Promise<{ exitCode: number; stdout: string }> {
      const { exitCode, stdout } = await client.run(['exec', 'web', '--', ...command]);
      return { exitCode, stdout: stdout.toString() };
    }

    test(`${ROUNDS} times echo hi: every time the output and exit code 0`, async () => {
      await times(ROUNDS, CONCURRENCY, async () => {
        assert.deepEqual(await exec('echo', 'hi'), { exitCode: 0, stdout: 'hi\n' });
      });
    });

    test('all 256 exit codes arrive as they are', async () => {
      await times(EXIT_CODES, CONCURRENCY, async code => {
        assert.deepEqual(await exec('sh', '-c', `exit ${code}`), { exitCode: code, stdout: '' });
      });
    });

    test('a death by signal is 128 + n', async () => {
      for (const signal of KILLING_SIGNALS) {
        const { exitCode } = await exec('sh', '-c', `kill -${constants.signals[signal]} $$`);
        assert.equal(exitCode, 128 + constants.signals[signal], signal);
      }
    });

    test('the daemon saw this transport and no other', () => {
      const count = ROUNDS + EXIT_CODES + KILLING_SIGNALS.length;
      assert.deepEqual(
        new Set(
          served.daemon
            .sessionsEnded()
            .slice(-count)
            .map(session => session.transport),
        ),
        new Set([transport]),
      );
    });
  });
}
