import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { once } from 'node:events';
import { oneKubectlPerTransport } from '../support/one-kubectl-per-transport.ts';
import { residentBytes, untilQuiet } from '../support/process-watch.ts';
import { serveWeb } from '../support/served.ts';

const BYTES = 200_000_000;
/** High-water marks and garbage that waits to be collected; a queue without a limit would hold nearly all BYTES. */
const MOST_GROWTH_BYTES = 64 * 1024 * 1024;

const clients = await oneKubectlPerTransport();

const served = serveWeb();

for (const { kubectl, transport } of clients) {
  describe(`${kubectl.name} over ${transport}`, () => {
    test('a client that does not read pauses the command, not the memory of the daemon', async () => {
      const client = await kubectl.against({ server: served.daemon.url, transport });
      const before = await residentBytes(served.daemon.pid);
      const child = client.spawn(['exec', 'web', '--', 'head', '-c', String(BYTES), '/dev/zero']);
      const exited = once(child, 'exit');
      await untilQuiet(served.daemon.pid); // kubectl's stdout is full, and nobody reads it
      assert.ok((await residentBytes(served.daemon.pid)) - before < MOST_GROWTH_BYTES);
      let received = 0;
      for await (const chunk of child.stdout as AsyncIterable<Buffer>) received += chunk.length;
      assert.equal(received, BYTES);
      assert.deepEqual(await exited, [0, null]);
      assert.equal(await transportOfLast(), transport);
    });

    test('a command that does not read pauses the client, not the memory of the daemon', async () => {
      const client = await kubectl.against({ server: served.daemon.url, transport });
      const before = await residentBytes(served.daemon.pid);
      const waits = `until [ -e /tmp/go-${transport} ]; do sleep 0.1; done; wc -c`;
      const child = client.spawn(['exec', '-i', 'web', '--', 'sh', '-c', waits]);
      const sent = sendZeros(child.stdin);
      await untilQuiet(served.daemon.pid);
      assert.ok((await residentBytes(served.daemon.pid)) - before < MOST_GROWTH_BYTES);
      await served.web.exec(['touch', `/tmp/go-${transport}`]);
      await sent;
      let counted = '';
      for await (const chunk of child.stdout as AsyncIterable<Buffer>) counted += chunk.toString();
      assert.equal(counted.trim(), String(BYTES));
      assert.equal(await transportOfLast(), transport);
    });
  });
}

let sessions = 0;

/** What the daemon saw; every test has one session. */
async function transportOfLast(): Promise<string | undefined> {
  sessions += 1;
  const ended = await served.daemon.waitForSessionsEnded(sessions);
  return ended.at(-1)?.transport;
}

async function sendZeros(stdin: NodeJS.WritableStream): Promise<void> {
  const chunk = Buffer.alloc(1_000_000);
  for (let sent = 0; sent < BYTES; sent += chunk.length) {
    if (!stdin.write(chunk)) await once(stdin, 'drain');
  }
  stdin.end();
}
