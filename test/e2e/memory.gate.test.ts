import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { Daemon } from '../support/daemon.ts';
import { gateSize } from '../support/gates.ts';
import type { Kubectl } from '../support/kubectl.ts';
import { oneKubectlPerTransport } from '../support/one-kubectl-per-transport.ts';
import { forgetPeak, peakResidentBytes } from '../support/process-watch.ts';
import { serveWeb } from '../support/served.ts';

const MIB = 1024 * 1024;
/** Less than this does not reach the garbage collector's own rhythm: on an idle machine 64 MiB peaked 25 MiB lower than 256 MiB. */
const SHORT_MIB = 512;
const LONG_MIB = gateSize({ full: 4_096, short: 1_024 });
const MOST_GROWTH_MIB = 16;
const ROUNDS = 3;

const clients = await oneKubectlPerTransport();

const served = serveWeb();

for (const { kubectl, transport } of clients) {
  describe(`${kubectl.name} over ${transport}: ${LONG_MIB} MiB take no more memory than ${SHORT_MIB} MiB`, () => {
    for (const [direction, relay] of Object.entries({ stdout, stdin })) {
      test(direction, async context => {
        const daemon = await Daemon.start({ engine: served.engine });
        try {
          const client = await kubectl.against({ server: daemon.url, transport });
          await relay(client, SHORT_MIB); // warms up
          const growths: number[] = [];
          // What grows with the volume grows each time; the garbage that waits for its collector does not.
          for (let round = 1; round <= ROUNDS && !growths.some(growth => growth <= MOST_GROWTH_MIB); round += 1) {
            const short = await peakMib(daemon.pid, () => relay(client, SHORT_MIB));
            const long = await peakMib(daemon.pid, () => relay(client, LONG_MIB));
            growths.push(long - short);
            context.diagnostic(`peak: ${short.toFixed(1)} MiB, then ${long.toFixed(1)} MiB`);
          }
          assert.ok(Math.min(...growths) <= MOST_GROWTH_MIB, `grew by ${growths.map(String).join(', ')} MiB`);
        } finally {
          await daemon.stop();
        }
      });
    }
  });
}

async function peakMib(pid: number, task: () => Promise<void>): Promise<number> {
  await forgetPeak(pid);
  await task();
  return (await peakResidentBytes(pid)) / MIB;
}

async function stdout(client: Kubectl, mib: number): Promise<void> {
  const child = client.spawn(['exec', 'web', '--', 'head', '-c', String(mib * MIB), '/dev/zero']);
  child.stdin.end();
  let received = 0;
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) received += chunk.length;
  assert.equal(received, mib * MIB);
}

async function stdin(client: Kubectl, mib: number): Promise<void> {
  // Ends with the last byte. What arrives is for the gate of volumes to compare; busybox's `wc -c` cannot count to 4 GiB.
  const child = client.spawn(['exec', '-i', 'web', '--', 'sh', '-c', 'cat > /dev/null']);
  const exited = once(child, 'exit');
  const chunk = Buffer.alloc(MIB);
  for (let sent = 0; sent < mib; sent += 1) {
    if (!child.stdin.write(chunk)) await once(child.stdin, 'drain');
  }
  child.stdin.end();
  assert.deepEqual(await exited, [0, null]);
}
