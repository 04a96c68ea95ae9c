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
  const listed = [...running, { Id: 'd'.repeat(64), Names: ['/old'], State: 'exited' }];
  const engine: TerminationChecks['engine'] = {
    endpoint: { text: 'unix:///docker.sock', socketPath: '/docker.sock' },
    local,
    mainPid: () => Promise.resolve(700),
  };
  const asked = { engine, containers: listed, processes: new FakeProcesses(processes), ownStatus };
  return (await checkTermination(asked)).map(({ result, text }) => `${result}: ${text}`);
}

const SEEN = 'ok: the processes of containers are seen here';

test('root on the host may end everything', async () => {
  assert.deepEqual(await check({}), [SEEN, 'ok: processes of every user may be signalled']);
});

test('a process that is not seen here, or is another of its pid, is a matter of the pid namespace', async () => {
  for (const processes of [[], [{ ...main, container: 'd'.repeat(64) }]]) {
    const [seen] = await check({ processes });
    assert.match(seen ?? '', /^problem: process 700 of container web is not seen here: .*hostPID: true/);
  }
});

test('a process that may not be signalled is a matter of rights', async () => {
  const [seen, right] = await check({ processes: [{ ...main, forbidden: true }], ownStatus: ROOT_WITHOUT_KILL });
  assert.equal(seen, SEEN);
  assert.match(right ?? '', /^problem: process 700 of container web may not be signalled: run execlet as root with/);
});

test('without CAP_KILL what runs now may be signalled, and it is said what may not', async () => {
  const [, right] = await check({ ownStatus: ROOT_WITHOUT_KILL });
  assert.match(right ?? '', /^ok: the containers that run may be signalled; elsewhere only processes of its own user/);
});

test('where no container runs, the capability decides, and the rest cannot be told', async () => {
  const withKill = await check({ containers: [] });
  assert.match(withKill[0] ?? '', /^not checked: .*no container runs/);
  assert.match(withKill[1] ?? '', /^ok: /);
  const without = await check({ containers: [], ownStatus: ROOT_WITHOUT_KILL });
  assert.match(without[1] ?? '', /^problem: only processes of its own user .*capability KILL/);
});

test('an Engine of another host is all there is to say', async () => {
  const [remote, ...rest] = await check({ local: false });
  assert.match(remote ?? '', /^problem: .*run execlet on its host/);
  assert.deepEqual(rest, []);
});

test('an Engine that answers no more is a problem, and nothing is thrown', async () => {
  const silent = new ExecletError('RuntimeUnavailable', 'the Engine at unix:///docker.sock does not answer: ENOENT');
  const checks = await checkTermination({
    engine: {
      endpoint: { text: 'unix:///docker.sock', socketPath: '/docker.sock' },
      local: true,
      mainPid: () => Promise.reject(silent),
    },
    containers: [{ Id: CONTAINER, Names: ['/web'], State: 'running' }],
    processes: new FakeProcesses([]),
    ownStatus: ROOT,
  });
  const text = `whether the processes of containers are seen here cannot be told: ${silent.message}`;
  assert.deepEqual(checks, [{ result: 'problem', text }]);
});
