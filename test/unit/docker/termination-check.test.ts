import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkTermination, type TerminationChecks } from '../../../src/docker/termination-check.ts';
import { ExecletError } from '../../../src/errors.ts';
import { CONTAINER, FakeProcesses, type FakeProcess } from './fake-processes.ts';

const ROOT = 'Name:\tnode\nCapPrm:\t000001ffffffffff\nCapEff:\t000001ffffffffff\n';
const ROOT_WITHOUT_KILL = 'CapPrm:\t000001ffffffffff\nCapEff:\t000001ffffffffdf\n';
const main: FakeProcess = { pid: 700, session: 700 };

interface Asked {
  readonly containers?: readonly string[];
  readonly processes?: readonly FakeProcess[];
  readonly ownStatus?: string;
  readonly local?: boolean;
}

async function check({
  containers = ['web'],
  processes = [main],
  ownStatus = ROOT,
  local = true,
}: Asked): Promise<string[]> {
  const running = containers.map(name => ({ Id: CONTAINER, Names: [`/${name}`], State: 'running' }));
  const list = [...running, { Id: 'd'.repeat(64), Names: ['/old'], State: 'exited' }];
  const engine: TerminationChecks['engine'] = {
    endpoint: { text: 'unix:///docker.sock', socketPath: '/docker.sock' },
    local,
    listContainers: () => Promise.resolve(list),
    mainPid: () => Promise.resolve(700),
  };
  return (await checkTermination({ engine, processes: new FakeProcesses(processes), ownStatus })).map(
    ({ result, text }) => `${result}: ${text}`,
  );
}

const ANSWERS = 'ok: the Engine at unix:///docker.sock answers';
const SEEN = 'ok: the processes of containers are seen here';

test('root on the host may end everything', async () => {
  assert.deepEqual(await check({}), [ANSWERS, SEEN, 'ok: processes of every user may be signalled']);
});

test('a process that is not seen here, or is another of its pid, is a matter of the pid namespace', async () => {
  for (const processes of [[], [{ ...main, container: 'd'.repeat(64) }]]) {
    const [, seen] = await check({ processes });
    assert.match(seen ?? '', /^problem: process 700 of container web is not seen here: .*hostPID: true/);
  }
});

test('a process that may not be signalled is a matter of rights', async () => {
  const [, seen, right] = await check({ processes: [{ ...main, forbidden: true }], ownStatus: ROOT_WITHOUT_KILL });
  assert.equal(seen, SEEN);
  assert.match(right ?? '', /^problem: process 700 of container web may not be signalled: run execlet as root with/);
});

test('without CAP_KILL what runs now may be signalled, and it is said what may not', async () => {
  const [, , right] = await check({ ownStatus: ROOT_WITHOUT_KILL });
  assert.match(right ?? '', /^ok: the containers that run may be signalled; elsewhere only processes of its own user/);
});

test('where no container runs, the capability decides, and the rest cannot be told', async () => {
  const withKill = await check({ containers: [] });
  assert.match(withKill[1] ?? '', /^not checked: .*no container runs/);
  assert.match(withKill[2] ?? '', /^ok: /);
  const without = await check({ containers: [], ownStatus: ROOT_WITHOUT_KILL });
  assert.match(without[2] ?? '', /^problem: only processes of its own user .*capability KILL/);
});

test('an Engine of another host, and one that does not answer, are all there is to say', async () => {
  const [, remote, ...rest] = await check({ local: false });
  assert.match(remote ?? '', /^problem: .*run execlet on its host/);
  assert.deepEqual(rest, []);
  const silent = new ExecletError('RuntimeUnavailable', 'the Engine at unix:///docker.sock does not answer: ENOENT');
  const checks = await checkTermination({
    engine: {
      endpoint: { text: 'unix:///docker.sock', socketPath: '/docker.sock' },
      local: true,
      listContainers: () => Promise.reject(silent),
      mainPid: () => Promise.resolve(0),
    },
    processes: new FakeProcesses([]),
    ownStatus: ROOT,
  });
  const text = `${silent.message}; start it, see --docker-endpoint, and who may use its socket`;
  assert.deepEqual(checks, [{ result: 'problem', text }]);
});
