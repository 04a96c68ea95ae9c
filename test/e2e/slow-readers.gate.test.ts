import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { gateCount, gateSize, times } from '../support/gates.ts';
import { RandomFile, runHashed, type Pace } from '../support/hashed-exec.ts';
import { oneKubectlPerTransport } from '../support/one-kubectl-per-transport.ts';
import { serveWeb } from '../support/served.ts';

const RUNS = gateCount(20);
/** Of each kind of reader on each transport; all of them run at the same time. */
const CONCURRENCY = gateSize({ full: 2, short: RUNS });
const MIB = 1024 * 1024;

/** The runs' outputs are of `bytes` up to `bytes + spreadBytes`: what a stopped kubectl has swallowed is never the same. */
interface SlowReader extends Pace {
  readonly title: string;
  readonly bytes: number;
  readonly spreadBytes?: number;
}

const READERS: readonly SlowReader[] = [
  { title: '16 MB at 2 MB/s after a pause of 3 s', bytes: 16_000_000, bytesPerSecond: 2_000_000, pauseMs: 3_000 },
  { title: '64 MiB at 4 MiB/s', bytes: 64 * MIB, bytesPerSecond: 4 * MIB },
  { title: '4 MB at 0.3 MB/s', bytes: 4_000_000, bytesPerSecond: 300_000 },
  { title: '7 to 8 MB at 0.4 MB/s', bytes: 7_000_000, spreadBytes: 1_000_000, bytesPerSecond: 400_000 },
  { title: '6 to 8 MB after a pause of 8 s', bytes: 6_000_000, spreadBytes: 2_000_000, pauseMs: 8_000 },
];

const clients = await oneKubectlPerTransport();

// Thirty commands start in one container at the same moment, and a busy Engine takes its time for that.
const served = serveWeb({ args: ['--engine-timeout', '60s'] });

describe('a slow reader gets every byte and the exit code', { concurrency: true }, () => {
  let random: RandomFile;
  before(async () => {
    random = await RandomFile.make(served.web, 64 * MIB);
  });

  for (const { kubectl, transport } of clients) {
    for (const { title, bytes, spreadBytes = 0, ...pace } of READERS) {
      test(`${kubectl.name} over ${transport}, ${RUNS} times ${title}`, async () => {
        const client = await kubectl.against({ server: served.daemon.url, transport });
        await times(RUNS, CONCURRENCY, async index => {
          const size = bytes + Math.round((spreadBytes * index) / RUNS);
          const command = `head -c ${size} ${random.path}; exit 7`;
          const { exitCode, stdout, stderr } = await runHashed(
            client,
            ['exec', 'web', '--', 'sh', '-c', command],
            pace,
          );
          assert.deepEqual(stdout, await random.start(size), stderr);
          assert.equal(exitCode, 7, stderr);
        });
      });
    }
  }
});

test('the daemon saw each kubectl over its transport', async () => {
  const each = READERS.length * RUNS;
  const ended = await served.daemon.waitForSessionsEnded(each * clients.length);
  for (const { transport } of clients) {
    assert.equal(ended.filter(session => session.transport === transport).length, each);
  }
});
