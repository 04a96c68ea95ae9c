import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { CHECKOUT } from '../support/checkout.ts';
import { kubernetesLabels, type TestContainer } from '../support/containers.ts';
import { Daemon } from '../support/daemon.ts';
import { startTestEngine, type TestEngine } from '../support/engine.ts';
import type { Kubectl, Transport } from '../support/kubectl.ts';
import { oneKubectlPerTransport } from '../support/one-kubectl-per-transport.ts';
import { withoutSessionName } from '../support/session-name.ts';

// What a person with kubectl sees of every ending. `npm run endings` writes what was seen into docs/endings.md.

interface Ending {
  readonly what: string;
  /** Run by `sh -c` unless `argv` is given. */
  readonly script?: string;
  readonly argv?: readonly string[];
  /** Ends the running command from outside; the time is counted from when this is called. */
  readonly end?: (around: Around) => Promise<unknown>;
  readonly exitCode: number;
  readonly stdout?: string;
  /** Of stderr, what stays the same from run to run. */
  readonly message: RegExp;
  /** At most so long, where there is a promise. */
  readonly withinMs?: number;
}

interface Around {
  readonly engine: TestEngine;
  readonly container: TestContainer;
  readonly daemon: Daemon;
}

const GONE = /^error: Internal error occurred: container app (stopped: exited \(\d+\)|was removed)$/;
const NOT_STARTED =
  /^error: Internal error occurred: error executing command in container: OCI runtime exec failed: .*$/;

const ENDINGS: readonly Ending[] = [
  { what: 'the command exits with 0', script: 'echo up', exitCode: 0, message: /^$/ },
  {
    what: 'the command exits with 42',
    script: 'echo up; exit 42',
    exitCode: 42,
    message: /^command terminated with exit code 42$/,
  },
  {
    what: 'the command is killed by SIGTERM',
    script: 'echo up; kill -15 $$',
    exitCode: 143,
    message: /^command terminated with exit code 143$/,
  },
  {
    what: 'the command is not found',
    argv: ['/no/such/command'],
    stdout: '',
    exitCode: 1,
    message: NOT_STARTED,
  },
  { what: 'the command is not executable', argv: ['/etc/passwd'], stdout: '', exitCode: 1, message: NOT_STARTED },
  { what: 'the command is a directory', argv: ['/tmp'], stdout: '', exitCode: 1, message: NOT_STARTED },
  {
    what: 'the command is a script whose interpreter is missing',
    argv: ['/tmp/script'],
    stdout: '',
    exitCode: 1,
    message: /(^|\n)command terminated with exit code 1$/,
  },
  {
    what: 'the command leaves a silent child behind that holds its output',
    script: 'echo up; sleep 20 & exit 4',
    exitCode: 4,
    message: /^command terminated with exit code 4$/,
    withinMs: 4_000,
  },
  {
    what: 'the container is stopped',
    script: 'echo up; sleep 1000',
    end: ({ container }) => container.docker.stop(),
    exitCode: 1,
    message: GONE,
    withinMs: 2_000,
  },
  {
    what: 'the container is killed',
    script: 'echo up; sleep 1000',
    end: ({ container }) => container.docker.kill(),
    exitCode: 1,
    message: GONE,
    withinMs: 2_000,
  },
  {
    what: 'the container is removed by force',
    script: 'echo up; sleep 1000',
    end: ({ container }) => container.remove(),
    exitCode: 1,
    message: GONE,
    withinMs: 2_000,
  },
  {
    what: 'the container is paused, and unpaused after 2 s',
    script: 'echo up; sleep 1; exit 5',
    end: async ({ container }) => {
      await container.docker.pause();
      setTimeout(() => void container.docker.unpause(), 2_000);
    },
    exitCode: 5,
    message: /^command terminated with exit code 5$/,
  },
  {
    what: 'the daemon is told to stop, and may wait for 500 ms',
    script: 'echo up; sleep 1000',
    end: ({ daemon }) => daemon.stop(),
    exitCode: 1,
    message: /^error: Internal error occurred: execlet is stopping$/,
    withinMs: 2_000,
  },
  {
    what: 'dockerd is killed',
    script: 'echo up; sleep 1000',
    end: ({ engine }) => engine.requirePrivate().kill(),
    exitCode: 1,
    message: /^error: Internal error occurred: the exit status is unknown: the Engine at .* does not answer: .*$/,
    withinMs: 2_000,
  },
];

/** A process has to start, and this is no measurement of a busy machine. */
const SLACK_MS = 3_000;

const clients = await oneKubectlPerTransport();
const seen: { what: string; transport: Transport; exitCode: number; message: string; ms: number }[] = [];

for (const { kubectl, transport } of clients) {
  describe(`${kubectl.name} over ${transport}`, () => {
    let engine: TestEngine;
    let daemon: Daemon;
    before(async () => {
      engine = await startTestEngine();
      daemon = await Daemon.start({ engine });
    });
    after(async () => {
      await daemon.stop(null);
      await engine.stop();
    });

    for (const ending of ENDINGS) {
      test(ending.what, async () => {
        daemon = await running(daemon, engine);
        const container = await engine.createContainer({
          labels: kubernetesLabels({ namespace: 'default', pod: 'web', container: 'app' }),
        });
        await container.exec(['sh', '-c', 'echo "#!/no/interpreter" > /tmp/script; chmod +x /tmp/script']);
        const client = await kubectl.against({ server: daemon.url, transport });
        const result = await observe(client, ending, { engine, container, daemon });
        seen.push({ what: ending.what, transport, ...result });
        assert.equal(result.exitCode, ending.exitCode, result.message);
        assert.match(result.message, ending.message);
        assert.equal(result.stdout.trim(), ending.stdout ?? 'up');
        if (ending.withinMs !== undefined) assert.ok(result.ms < ending.withinMs + SLACK_MS, `${result.ms} ms`);
        if (ending.end === undefined) await container.remove();
        else await container.remove().catch(() => undefined); // what ended it may have taken it, or its Engine, away
      });
    }
  });
}

after(async () => {
  if (process.env.EXECLET_WRITE_ENDINGS === 'yes') await writeFile(join(CHECKOUT, 'docs', 'endings.md'), page());
});

/** The daemon, or another where a test has stopped it. */
async function running(daemon: Daemon, engine: TestEngine): Promise<Daemon> {
  const ended = await Promise.race([daemon.exited.then(() => true), delay(0, false)]);
  return ended ? Daemon.start({ engine }) : daemon;
}

async function observe(
  client: Kubectl,
  { script, argv = ['sh', '-c', script ?? ''], end }: Ending,
  around: Around,
): Promise<{ exitCode: number; stdout: string; message: string; ms: number }> {
  const began = performance.now();
  let from = began;
  const child = client.spawn(['exec', 'web', '--', ...argv]);
  let stdout = '';
  let message = '';
  child.stderr.on('data', (chunk: Buffer) => (message += chunk.toString()));
  const up = new Promise<void>(resolve => {
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
      resolve();
    });
  });
  const closed = once(child, 'close') as Promise<[number]>;
  if (end !== undefined) {
    await Promise.race([up, closed]);
    from = performance.now();
    await end(around);
  }
  const [exitCode] = await closed;
  const told = message.trim();
  const isOurs = told.startsWith('error: Internal error occurred: ');
  return {
    exitCode,
    stdout,
    message: isOurs ? withoutSessionName(told) : told,
    ms: Math.round(performance.now() - from),
  };
}

function page(): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
  const stable = (text: string): string =>
    text.replaceAll(/unix:\/\/\S+\.sock|\/tmp\/execlet-\S+\.sock/g, 'unix:///var/run/docker.sock');
  const rows = ENDINGS.map(({ what }) => {
    const runs = clients.map(({ transport }) => seen.find(run => run.what === what && run.transport === transport));
    const columns = runs.map(run => (run === undefined ? '' : `${run.exitCode}, ${(run.ms / 1000).toFixed(1)} s`));
    const messages = new Set(runs.map(run => stable(run?.message ?? '')));
    return `| ${what} | ${columns.join(' | ')} | ${[...messages].map(text => (text === '' ? 'nothing' : `\`${cell(text)}\``)).join(', or ')} |`;
  });
  const names = clients.map(
    ({ kubectl, transport }) => `${kubectl.name}, ${transport === 'spdy' ? 'SPDY' : 'WebSocket'}`,
  );
  return [
    '# What kubectl shows of each ending',
    '',
    'Written by `npm run endings` from runs of real kubectls against a real dockerd; `npm test` checks each row. A cell has the exit',
    'code of kubectl and the time until it ended: from the start of kubectl, or, where something outside ends the command, from then.',
    'Behind each text of execlet (`Internal error occurred: …`) stands ` (session ID)`, which is left out here.',
    '',
    `| what happens | ${names.join(' | ')} | on stderr |`,
    `| --- | ${names.map(() => '---').join(' | ')} | --- |`,
    ...rows,
    '',
  ].join('\n');
}
