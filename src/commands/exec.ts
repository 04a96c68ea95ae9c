import { Command } from 'commander';
import { ClientError } from '../client/client-error.ts';
import { addConnectionFlags, type ConnectionFlags } from '../client/connection-flags.ts';
import { resolveConnection } from '../client/connection.ts';
import { LocalTerminal } from '../client/local-terminal.ts';
import { print } from '../client/output.ts';
import { execRemotely } from '../client/remote-exec.ts';
import { settle } from '../client/settle.ts';

interface ExecFlags extends ConnectionFlags {
  readonly namespace?: string;
  readonly container?: string;
  readonly stdin?: boolean;
  readonly tty?: boolean;
}

/** Remembers whether `--` was given, which commander drops while it parses. */
class ExecCommand extends Command {
  separated = false;

  override parseOptions(argv: string[]): ReturnType<Command['parseOptions']> {
    this.separated = argv.includes('--');
    return super.parseOptions(argv);
  }
}

/** `execlet exec`: runs a command in a container through the daemon, with the command's exit code as its own. */
export function execCommand(): Command {
  const command = new ExecCommand('exec')
    .description('run a command in a container, through the daemon')
    .usage('[-i] [-t] [-n NAMESPACE] [-c CONTAINER] POD -- COMMAND [ARGUMENT…]')
    .argument('<pod>', 'name of the pod; pod/NAME is understood too')
    .argument('<command...>', 'what to run and its arguments; -- keeps their flags apart from ours')
    .option('-i, --stdin', 'pass stdin to the command')
    .option('-t, --tty', 'give the command a terminal; needs -i, and a terminal to run in')
    .option('-n, --namespace <NAMESPACE>', 'namespace of the pod (default: that of the kubeconfig, else "default")')
    .option('-c, --container <NAME>', 'container of the pod (default: its only one)');
  addConnectionFlags(command).action((pod: string, argv: string[], flags: ExecFlags) =>
    settle(() => {
      // Without it `exec POD sh -c 'exit 3'` would ask for a container named "exit 3". kubectl refuses it too.
      if (!command.separated) throw ClientError.usage('-- is missing between the pod and the command');
      return runExec(pod, argv, flags);
    }),
  );
  return command;
}

async function runExec(podArgument: string, command: readonly string[], flags: ExecFlags): Promise<number> {
  const pod = podName(podArgument);
  const connection = resolveConnection(flags, process.env);
  const namespace = flags.namespace ?? connection.namespace ?? 'default';
  const stdin = flags.stdin === true ? process.stdin : undefined;
  const terminal =
    flags.tty === true && stdin?.isTTY === true
      ? new LocalTerminal({ input: stdin, output: process.stdout.isTTY ? process.stdout : undefined })
      : undefined;
  if (flags.tty === true && terminal === undefined) {
    await print('Unable to use a TTY - input is not a terminal or the right kind of file\n', process.stderr);
  }
  try {
    const { stdout, stderr } = process;
    const target = { namespace, pod, container: flags.container, command };
    const exitCode = await execRemotely(connection, target, { stdin, stdout, stderr, terminal });
    if (exitCode !== 0) await print(`command terminated with exit code ${exitCode}\n`, stderr);
    return exitCode;
  } finally {
    stdin?.destroy(); // a stdin that is still open would keep this process alive
  }
}

function podName(argument: string): string {
  const [kind = '', name, ...rest] = argument.split('/');
  if (name === undefined) return argument;
  if (['pod', 'pods', 'po'].includes(kind) && name !== '' && rest.length === 0) return name;
  throw ClientError.usage(`"${argument}" is not a pod: NAME or pod/NAME`);
}
