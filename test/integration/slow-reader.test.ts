import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { untilQuiet } from '../support/process-watch.ts';
import { serveWeb } from '../support/served.ts';
import { dialSpdy } from '../support/spdy-client.ts';

/** The Engine drops what nobody has read so long after the command's exit. */
const ENGINE_DROPS_MS = 2_000;
/**
 * What a command leaves behind at its exit where its reader has stopped. About 1.28 MB of that lie in the Engine's own buffer and
 * survive; the rest, in the command's pipe, is lost. A command that has still more to say has not exited: 1.42 MB and beyond.
 */
const TAILS_BYTES = [1_240_000, 1_270_000, 1_300_000, 1_330_000, 1_360_000, 1_390_000, 1_420_000];
const SUCCESS = '{"metadata":{},"status":"Success"}';

const served = serveWeb();

/** A client that reads nothing until it is told to. */
interface StoppedClient {
  /** Reads everything up to the end. */
  readAll(): Promise<{ bytes: number; status: string }>;
  leave(): void;
}

const transports: Record<string, (command: string) => Promise<StoppedClient>> = {
  spdy: async command => {
    const { client } = await dialSpdy({
      port: served.daemon.port,
      path: path(command),
      protocols: ['v4.channel.k8s.io'],
    });
    assert.ok(client !== undefined);
    const error = await client.open({ streamtype: 'error' });
    const stdout = await client.open({ streamtype: 'stdout' });
    client.pause();
    return {
      readAll: async () => {
        client.resume();
        const [output, status] = await Promise.all([stdout.ended(), error.ended()]);
        client.end();
        return { bytes: output.length, status: status.toString() };
      },
      leave: () => client.destroy(),
    };
  },
  websocket: async command => {
    const client = new WebSocket(`ws://127.0.0.1:${served.daemon.port}${path(command)}`, ['v5.channel.k8s.io']);
    let bytes = 0;
    let status = '';
    client.on('message', (message: Buffer) => {
      if (message[0] === 1) bytes += message.length - 1;
      else if (message[0] === 3) status += message.toString('utf8', 1);
    });
    await once(client, 'open');
    client.pause();
    return {
      readAll: async () => {
        client.resume();
        await once(client, 'close');
        return { bytes, status };
      },
      leave: () => client.terminate(),
    };
  },
};

for (const [transport, connect] of Object.entries(transports)) {
  describe(transport, () => {
    test('a client that has stopped reading gets the rest, long after the command has exited', async () => {
      const taken = await bytesUntilFull(connect);
      const sizes = TAILS_BYTES.map(tail => taken + tail);
      const clients = await Promise.all(sizes.map(size => connect(`head -c ${size} /dev/zero; exit 7`)));
      await delay(2 * ENGINE_DROPS_MS + 1_000); // nothing tells that the Engine has given up
      for (const [index, client] of clients.entries()) {
        const { bytes, status } = await client.readAll();
        assert.equal(bytes - taken, TAILS_BYTES[index]);
        assert.match(status, /"reason":"ExitCode","message":"7"/);
      }
    });

    test(
      'a finished command whose client does not read holds up no other of its container',
      { timeout: 30_000 },
      async () => {
        const taken = await bytesUntilFull(connect);
        const tails = [1_300_000, 1_330_000, 1_360_000];
        const clients = await Promise.all(tails.map(tail => connect(`head -c ${taken + tail} /dev/zero`)));
        await delay(ENGINE_DROPS_MS / 2);
        // Without an end of the stall this would wait for the clients to read.
        assert.deepEqual(await (await connect('echo hi')).readAll(), { bytes: 3, status: SUCCESS });
        for (const client of clients) client.leave();
      },
    );
  });
}

function path(command: string): string {
  return `/exec/default/web/app?command=sh&command=-c&command=${encodeURIComponent(command)}&output=1`;
}

/** How much the daemon reads from the Engine for a client that reads nothing. */
async function bytesUntilFull(connect: (command: string) => Promise<StoppedClient>): Promise<number> {
  const quiet = untilQuiet(served.daemon.pid);
  const client = await connect('exec head -c 30000000 /dev/zero');
  const taken = await quiet;
  client.leave();
  return taken;
}
