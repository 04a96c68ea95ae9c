import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { WebSocket } from 'ws';
import { CHECKOUT } from '../../support/checkout.ts';
import { exitCodeOf } from '../../support/command.ts';
import { ExecServer, exitStatus, onChannel, type Play } from '../../support/exec-server.ts';
import { Terminal } from '../../support/pty.ts';

const env = { ...process.env, KUBECONFIG: '' };

/** `execlet exec -it` as words of a shell's command line. */
function execIn(server: ExecServer): string {
  const words = [process.execPath, join(CHECKOUT, 'src', 'main.ts'), 'exec', '--server', server.url.origin];
  return [...words, '-it', 'web', '--', 'sh'].map(word => `'${word}'`).join(' ');
}

/** The server's end of the next session, and what it receives, in order. */
function terminalSession(): { play: Play; socket: Promise<WebSocket>; next: () => Promise<string> } {
  const socket = Promise.withResolvers<WebSocket>();
  const received: string[] = [];
  let arrived = Promise.withResolvers<undefined>();
  return {
    play(webSocket) {
      webSocket.on('message', (message: Buffer) => {
        received.push(message.toString('latin1'));
        arrived.resolve(undefined);
        arrived = Promise.withResolvers();
      });
      socket.resolve(webSocket);
    },
    socket: socket.promise,
    async next() {
      while (received.length === 0) await arrived.promise;
      return received.shift() ?? '';
    },
  };
}

test('a terminal is raw while the command runs: keys and sizes go to it, and the modes come back', async context => {
  const session = terminalSession();
  await using server = await ExecServer.start(session.play);
  // A shell around it keeps the terminal there to be looked at afterwards.
  const shell = ['sh', '-c', `stty -g; ${execIn(server)}; echo "ended $?"; stty -g; cat`] as const;
  const terminal = await Terminal.open(shell, { columns: 90, rows: 20, env });
  context.after(() => terminal.close());
  const [, before = ''] = await terminal.expect(/([0-9a-f:]{20,})\r\n/);
  assert.equal(await session.next(), '\u0004{"Width":90,"Height":20}\n');
  assert.notEqual(await terminal.modes(), before, 'raw while the command runs');
  await terminal.resize({ columns: 100, rows: 30 });
  // stty sets columns and rows one after the other, and the size in between may be reported too.
  const resized = '\u0004{"Width":100,"Height":30}\n';
  for (let size = await session.next(); size !== resized; size = await session.next()) {
    assert.match(size, /"Width":(90|100),"Height":(20|30)/);
  }
  terminal.type('\u0003');
  assert.equal(await session.next(), '\0\u0003', 'Ctrl-C is a key for the command');
  const socket = await session.socket;
  socket.send(onChannel(1, '[one\ntwo]'));
  await terminal.expect(/\[one\ntwo\]/); // a line feed is only that
  socket.send(onChannel(3, exitStatus(7)));
  socket.close(1000);
  await terminal.expect(/ended 7/);
  await terminal.expect(/[0-9a-f:]{20,}\r\n/);
  assert.equal(await terminal.modes(), before);
});

for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT'] as const) {
  test(`the terminal's modes come back at ${signal}, of which the process dies`, async context => {
    const session = terminalSession();
    await using server = await ExecServer.start(session.play);
    const shell = [
      'bash',
      '-c',
      `trap : INT; stty -g; sh -c 'echo pid=$$; exec "$@"' - ${execIn(server)}; echo "ended $?"; cat`,
    ] as const;
    const terminal = await Terminal.open(shell, { columns: 90, rows: 20, env });
    context.after(() => terminal.close());
    const [, before = ''] = await terminal.expect(/([0-9a-f:]{20,})\r\n/);
    const [, pid = ''] = await terminal.expect(/pid=(\d+)/);
    await session.next();
    assert.notEqual(await terminal.modes(), before);
    process.kill(Number(pid), signal);
    await terminal.expect(new RegExp(`ended ${exitCodeOf(null, signal)}`));
    assert.equal(await terminal.modes(), before);
  });
}
