import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { gateSize } from '../support/gates.ts';
import { hashOfStart, runHashed } from '../support/hashed-exec.ts';
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
const RANDOM_FILE = '/tmp/random';

const clients = await oneKubectlPerTransport();

const served = serveWeb();

describe('whoever pauses is waited for', { concurrency: true }, () => {
  before(async () => {
    await served.web.exec(['sh', '-c', `head -c ${OUTPUT_BYTES} /dev/urandom > ${RANDOM_FILE}`]);
  });

  for (const { kubectl, transport } of clients) {
    const pauseMs = READER_PAUSES_MS[transport];
    test(`${kubectl.name} over ${transport}: a reader that pauses for ${pauseMs / 1000} s gets everything`, async () => {
      const client = await kubectl.against({ server: served.daemon.url, transport });
      const args = ['exec', 'web', '--', 'sh', '-c', `cat ${RANDOM_FILE}; exit 7`];
      const { exitCode, stdout, stderr } = await runHashed(client, args, { pauseMs });
      assert.deepEqual(stdout, await hashOfStart(served.web, RANDOM_FILE, OUTPUT_BYTES), stderr);
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
