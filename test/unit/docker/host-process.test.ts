import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { HostProcess } from '../../../src/docker/host-process.ts';

/** What stands for the container's id here: the cgroup of this test is that of its children too. */
const CGROUP = readFileSync('/proc/self/cgroup', 'utf8').trim().split(':').at(-1) ?? '';

test('a process that runs, and that it has ended', async () => {
  const child = spawn('sleep', ['1000']);
  await once(child, 'spawn');
  const process = HostProcess.find(child.pid ?? 0, CGROUP);
  assert.equal(process?.exited, false);
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.equal(process.exited, true);
  assert.equal(HostProcess.find(child.pid ?? 0, CGROUP), undefined);
});

test('one that has ended and that nobody has waited for yet has ended', async () => {
  // The shell becomes a sleep, which knows nothing of the child that it has inherited.
  const child = spawn('sh', ['-c', 'sleep 0.1 & echo $!; exec sleep 1000']);
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const process = HostProcess.find(Number(line.toString()), CGROUP);
  assert.ok(process !== undefined);
  while (!process.exited) await new Promise(resolve => setImmediate(resolve));
  assert.match(readFileSync(`/proc/${line.toString().trim()}/stat`, 'utf8'), /\) Z /);
  child.kill('SIGKILL');
});

test('a pid of another container, or of nobody, is not found', () => {
  assert.equal(HostProcess.find(process.pid, '0123456789abcdef'.repeat(4)), undefined);
  assert.equal(HostProcess.find(99_999_999, CGROUP), undefined);
});
