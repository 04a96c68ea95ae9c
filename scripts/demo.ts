import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CHECKOUT } from '../test/support/checkout.ts';
import { runCommand, type CommandResult } from '../test/support/command.ts';
import { kubernetesLabels } from '../test/support/containers.ts';
import { Daemon } from '../test/support/daemon.ts';
import { NoEngineError, startTestEngine } from '../test/support/engine.ts';
import { kubectlsOnPath } from '../test/support/kubectl.ts';
import { Terminal } from '../test/support/pty.ts';

// `npm run demo`: the main job on real parts, in front of the reader's eyes. Ends with 1 when anything is not as it should be.

const { values: options } = parseArgs({ options: { keep: { type: 'boolean', default: false } } });
const POD = 'hello';
const failures: string[] = [];

/** One program that talks to the daemon: its name as a person types it, and what is run for it. */
interface Client {
  readonly name: 'kubectl' | 'execlet';
  readonly command: readonly [string, ...string[]];
  readonly env: NodeJS.ProcessEnv;
  readonly server: string;
  /** What of its environment a person would have to type. */
  readonly shownEnv?: string;
}

interface Expected {
  readonly stdin?: string;
  readonly exitCode?: number;
  readonly stdout?: RegExp;
  readonly stderr?: RegExp;
}

say('Setting up a Docker Engine, a container and execlet …');
const engine = await startTestEngine().catch((cause: unknown) => {
  if (!(cause instanceof NoEngineError)) throw cause;
  process.stderr.write(`${cause.message}\n`);
  process.exit(1);
});
try {
  const labels = kubernetesLabels({ namespace: 'default', pod: POD, container: 'app' });
  await engine.createContainer({ labels });
  const daemon = await Daemon.start({ engine });
  say(`  Engine ${engine.dockerHost}, one busybox container labelled as pod ${POD}, execlet at ${daemon.url}`);

  const execlet = execletClient(daemon);
  const kubectl = await kubectlClient(daemon);
  if (kubectl === undefined) say('\nThere is no kubectl on PATH, so execlet exec alone shows what it would do.');
  if (kubectl !== undefined) {
    await showExecs(kubectl);
    const shownEnv = 'KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false';
    const overSpdy = { ...kubectl, shownEnv, env: { ...kubectl.env, KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false' } };
    await show(overSpdy, ['exec', POD, '--', 'echo', 'the same over SPDY'], { stdout: /^the same over SPDY\n$/ });
  }
  await showExecs(execlet);

  say('\nWhat the daemon saw:');
  for (const { transport, protocol, exitCode } of daemon.sessionsEnded()) {
    say(`  session over ${transport} ${protocol}, exit code ${exitCode ?? 'unknown'}`);
  }
  if (options.keep) await keepRunning(daemon, kubectl !== undefined);
  await daemon.stop();
} finally {
  await engine.stop();
}
say(
  failures.length === 0
    ? '\nEverything worked, and nothing is left behind.'
    : `\nNot as expected: ${failures.join('; ')}`,
);
process.exitCode = failures.length === 0 ? 0 : 1;

async function showExecs(client: Client): Promise<void> {
  await show(client, client.name === 'kubectl' ? ['get', 'pods'] : ['pods'], { stdout: new RegExp(POD) });
  await show(client, ['exec', POD, '--', 'echo', 'hello from the container'], {
    stdout: /^hello from the container\n$/,
  });
  await show(client, ['exec', '-i', POD, '--', 'tr', 'a-z', 'A-Z'], {
    stdin: 'typed on this side',
    stdout: /^TYPED ON THIS SIDE$/,
  });
  await show(client, ['exec', POD, '--', 'sh', '-c', 'echo trouble >&2; exit 42'], {
    exitCode: 42,
    stderr: /^trouble\n/,
  });
  await showTerminal(client, ['exec', '-it', POD, '--', 'sh', '-c', 'sleep 0.5; stty size'], {
    columns: 132,
    rows: 43,
  });
}

async function show(client: Client, args: readonly string[], expected: Expected): Promise<void> {
  const { line, file, argv } = invocation(client, args);
  say(`\n$ ${expected.stdin === undefined ? '' : `echo -n ${quote(expected.stdin)} | `}${line}`);
  const { stdin } = expected;
  const result = await runCommand(file, argv, { env: client.env, ...(stdin !== undefined && { stdin }) });
  const output = `${result.stdout.toString()}${result.stderr}`;
  say(`${output.trimEnd()}\n→ exit code ${result.exitCode}`);
  if (!isAsExpected(result, expected)) failures.push(line);
}

async function showTerminal(
  client: Client,
  args: readonly string[],
  size: { columns: number; rows: number },
): Promise<void> {
  const { line, file, argv } = invocation(client, args);
  say(`\n$ ${line}     # in a terminal of ${size.rows} rows and ${size.columns} columns`);
  const terminal = await Terminal.open([file, ...argv], { ...size, env: client.env });
  const exitCode = await terminal.exited;
  const [answer = 'no size was printed'] = /\d+ \d+\r\n/.exec(terminal.output) ?? [];
  say(`${answer.trim()}\n→ exit code ${exitCode}`);
  if (exitCode !== 0 || answer.trim() !== `${size.rows} ${size.columns}`) failures.push(line);
}

/** The arguments with the server named behind the subcommand, where both programs take it. */
function invocation({ name, command: [file, ...before], server, shownEnv }: Client, args: readonly string[]) {
  const [subcommand = '', ...rest] = args;
  const all = [subcommand, '--server', server, ...rest];
  const line = [name, ...all].map(quote).join(' ');
  return { line: shownEnv === undefined ? line : `${shownEnv} ${line}`, file, argv: [...before, ...all] };
}

function isAsExpected(result: CommandResult, { exitCode = 0, stdout = /^/, stderr = /^/ }: Expected): boolean {
  return result.exitCode === exitCode && stdout.test(result.stdout.toString()) && stderr.test(result.stderr);
}

function execletClient({ url: server }: Daemon): Client {
  return { name: 'execlet', command: [process.execPath, join(CHECKOUT, 'src', 'main.ts')], env: process.env, server };
}

async function kubectlClient({ url: server }: Daemon): Promise<Client | undefined> {
  const [kubectl] = await kubectlsOnPath();
  return kubectl && { name: 'kubectl', command: [kubectl.path], env: kubectl.env(), server };
}

async function keepRunning(daemon: Daemon, withKubectl: boolean): Promise<void> {
  const server = `--server ${daemon.url}`;
  say('\nIt is still running. Try, in another terminal:\n');
  if (withKubectl) say(`  kubectl ${server} exec -it ${POD} -- sh`);
  say(`  npm run --silent execlet -- exec ${server} -it ${POD} -- sh`);
  say(`  curl ${daemon.url}/pods`);
  say(`  docker --host ${engine.dockerHost} ps\n\nCtrl-C ends it and cleans up.`);
  await new Promise<void>(resolve => process.once('SIGINT', () => resolve()).once('SIGTERM', () => resolve()));
}

function quote(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
