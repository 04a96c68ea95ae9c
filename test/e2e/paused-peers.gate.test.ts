import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { gateSize } from '../support/gates.ts';
import { hashOfStart, RandomFile, runHashed } from '../support/hashed-exec.ts';
import { oneKubectlPerTransport } from '../support/one-kubectl-per-transport.ts';
import { serveWeb } from '../support/served.ts';

/** kubectl itself gives up over WebSocket when it has read nothing for 61 s. */
const READER_PAUSES_MS = {
  spdy: gateSize({ full: 300_000, short: 8_000 }),
  websocket: gateSize({ full: 50_000, short: 8_000 }),
};
/** Longer than the 61 s after which kubectl over WebSocket misses the answer to a PING of its own. */
const INPUT_IGNORED_S = gateSize({ full: 180, short: 8 });
const INPUT_BYTES = 10_000_000;
const OUTPUT_BYTES = 50_000_000;

const clients = await oneKubectlPerTransport();

/** So that many intervals pass in a pause, short as it may be. */
const served = serveWeb({ args: ['--keepalive-interval', '500ms'] });

describe('whoever pauses is waited for', { concurrency: true }, () => {
  let random: RandomFile;
  before(async () => {
    random = await RandomFile.make(served.web, OUTPUT_BYTES);
  });

  for (const { kubectl, transport } of clients) {
    const pauseMs = READER_PAUSES_MS[transport];
    test(`${kubectl.name} over ${transport}: a reader that pauses for ${pauseMs / 1000} s gets everything`, async () => {
      const client = await kubectl.against({ server: served.daemon.url, transport });
      const args = ['exec', 'web', '--', 'sh', '-c', `cat ${random.path}; exit 7`];
      const { exitCode, stdout, stderr } = await runHashed(client, args, { pauseMs });
      assert.deepEqual(stdout, await random.start(OUTPUT_BYTES), stderr);
      assert.equal(exitCode, 7, stderr);
    });

    test(`${kubectl.name} over ${transport}: a command that ignores its input for ${INPUT_IGNORED_S} s gets everything`, async () => {
      const client = await kubectl.against({ server: served.daemon.url, transport });
      const file = `/tmp/input-${transport}`;
      const command = `sleep ${INPUT_IGNORED_S}; cat > ${file}; exit 7`;
      const args = ['exec', '-i', 'web', '--', 'sh', '-c', command];
      const { exitCode, stdin, stderr } = await runHashed(client, args, { stdinBytes: INPUT_BYTES });
      assert.equal(exitCode, 7, stderr);
      assert.deepEqual(await hashOfStart(served.web, file, INPUT_BYTES), stdin);
    });
  }
});

test('the daemon saw each kubectl over its transport', async () => {
  const each = 2;
  const ended = await served.daemon.waitForSessionsEnded(each * clients.length);
  for (const { transport } of clients) {
    assert.equal(ended.filter(session => session.transport === transport).length, each);
  }
});
