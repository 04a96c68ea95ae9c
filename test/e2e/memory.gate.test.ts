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
const WARM_UP_MIB = gateSize({ full: 512, short: 128 });
const SHORT_MIB = gateSize({ full: 512, short: 64 });
const LONG_MIB = gateSize({ full: 4_096, short: 256 });
const MOST_GROWTH_MIB = 16;

const clients = await oneKubectlPerTransport();

const served = serveWeb();

for (const { kubectl, transport } of clients) {
  describe(`${kubectl.name} over ${transport}: ${LONG_MIB} MiB take no more memory than ${SHORT_MIB} MiB`, () => {
    for (const [direction, relay] of Object.entries({ stdout, stdin })) {
      test(direction, async context => {
        const daemon = await Daemon.start({ engine: served.engine });
        try {
          const client = await kubectl.against({ server: daemon.url, transport });
          await relay(client, WARM_UP_MIB);
          const short = await peakMib(daemon.pid, () => relay(client, SHORT_MIB));
          const long = await peakMib(daemon.pid, () => relay(client, LONG_MIB));
          context.diagnostic(`peak: ${short.toFixed(1)} MiB, then ${long.toFixed(1)} MiB`);
          assert.ok(long - short <= MOST_GROWTH_MIB, `${short.toFixed(1)} MiB, then ${long.toFixed(1)} MiB`);
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
