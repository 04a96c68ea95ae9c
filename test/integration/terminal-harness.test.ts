import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readProcess, untilGone } from '../support/processes.ts';
import { Terminal } from '../support/pty.ts';

test('a command in a terminal sees its size, keys and resizes, and its exit code comes back', async t => {
  const terminal = await Terminal.open(['sh'], { columns: 91, rows: 33 });
  t.after(() => terminal.close());

  terminal.type('stty size\r');
  await terminal.expect(/33 91\r\n/);

  terminal.type("trap 'stty size; echo resi''zed' WINCH; echo rea''dy\r");
  await terminal.expect(/ready/);
  await terminal.resize({ columns: 101, rows: 41 });
  terminal.type('\r'); // A shell runs its traps between commands.
  await terminal.expect(/41 101\r\nresized/);

  terminal.type('exit 7\r');
  assert.equal(await terminal.exited, 7);
});

test('what was shown before a pattern that never comes is in the error', async t => {
  const terminal = await Terminal.open(['echo', "it's me"], { columns: 80, rows: 24 });
  t.after(() => terminal.close());
  await assert.rejects(terminal.expect(/somebody else/), /ended without showing somebody else.*it's me/s);
});

test('a closed terminal hangs up', async () => {
  const terminal = await Terminal.open(['sh', '-c', 'echo shell=$$.; sleep 1000'], { columns: 80, rows: 24 });
  const [, pid] = await terminal.expect(/shell=(\d+)\./);
  const shell = await readProcess(Number(pid));
  assert.ok(shell !== undefined);
  await terminal.close();
  await untilGone(shell);
});
