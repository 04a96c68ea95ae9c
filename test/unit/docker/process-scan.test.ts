import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProcessScanner } from '../../../src/docker/process-scan.ts';
import { FakeProcesses } from './fake-processes.ts';

test('who asks in one turn shares a scan; who asks while one is under way gets the next, with what has come since', async () => {
  const processes = new FakeProcesses([{ pid: 2, session: 2 }]);
  const scanner = new ProcessScanner(processes);
  const first = [scanner.scan(), scanner.scan(), scanner.scan()];
  const later: ReturnType<ProcessScanner['scan']>[] = [];
  processes.afterScan = () => {
    if (processes.scans > 1) return;
    processes.put({ pid: 3, session: 2, parent: 2 });
    later.push(scanner.scan(), scanner.scan());
  };
  const pids = async (scan: ReturnType<ProcessScanner['scan']> | undefined): Promise<number[] | undefined> =>
    (await scan)?.ledBy(2).map(({ pid }) => pid);
  for (const scan of first) assert.deepEqual(await pids(scan), [2]);
  await new Promise(setImmediate);
  assert.equal(later.length, 2);
  for (const scan of later) assert.deepEqual(await pids(scan), [2, 3]);
  assert.equal(processes.scans, 2);
});

test('a table that cannot be read fails the scan, and not the next', async () => {
  const processes = new FakeProcesses([{ pid: 2, session: 2 }]);
  const scanner = new ProcessScanner(processes);
  const pids = processes.pids.bind(processes);
  processes.pids = () => Promise.reject(new Error('EMFILE'));
  await assert.rejects(scanner.scan(), /EMFILE/);
  processes.pids = pids;
  assert.equal((await scanner.scan()).ledBy(2).length, 1);
});

test('thousands of processes are read in turns, so that others have theirs', async () => {
  const processes = new FakeProcesses(Array.from({ length: 5_000 }, (_, index) => ({ pid: index + 2, session: 2 })));
  let turns = 0;
  const count = (): void => {
    turns += 1;
    again = setImmediate(count);
  };
  let again = setImmediate(count);
  const snapshot = await new ProcessScanner(processes).scan();
  clearImmediate(again);
  assert.equal(snapshot.ledBy(2).length, 5_000);
  assert.ok(turns > 50, `${turns} turns`);
});

test('descendants are found through any number of generations', async () => {
  const processes = new FakeProcesses([
    { pid: 2, session: 2 },
    { pid: 3, session: 3, parent: 2 },
    { pid: 4, session: 4, parent: 3 },
    { pid: 5, session: 5, parent: 1 },
  ]);
  const snapshot = await new ProcessScanner(processes).scan();
  assert.deepEqual(
    snapshot.descendantsOf(snapshot.ledBy(2)).map(({ pid }) => pid),
    [3, 4],
  );
});
