/** The process that cleans up after a test process: see leaveToJanitor. Its input ends when the test process does. */
import { rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { janitorMessage, type Leftover } from './cleanup.ts';
import { runCommand } from './command.ts';
import { removeLabelled } from './containers.ts';
import { removeDockerd } from './private-dockerd.ts';
import { sendSignal } from './processes.ts';

const leftovers = new Map<number, Leftover>();

for await (const line of createInterface({ input: process.stdin })) {
  const message = janitorMessage.parse(JSON.parse(line));
  if ('remember' in message) leftovers.set(message.remember, message.leftover);
  else leftovers.delete(message.forget);
}

// Newest first: what was made last may depend on what was there before.
for (const leftover of [...leftovers.values()].reverse()) {
  await remove(leftover).catch((cause: unknown) => {
    console.error(`cleaning up ${JSON.stringify(leftover)} failed:`, cause);
    process.exitCode = 1;
  });
}

async function remove(leftover: Leftover): Promise<void> {
  switch (leftover.kind) {
    case 'process':
      sendSignal(leftover.pid, 'SIGKILL');
      return;
    case 'network':
      await runCommand('ip', ['netns', 'delete', leftover.namespace]);
      return;
    case 'directory':
      return rm(leftover.path, { recursive: true, force: true });
    case 'dockerd':
      return removeDockerd(leftover.directory);
    case 'labelled':
      return removeLabelled(leftover.dockerHost, leftover.label);
  }
}
