import './garbage.ts'; // before anything makes garbage
import { Command, CommanderError } from 'commander';
import { SettingsError } from './config/settings-error.ts';
import { VERSION } from './version.ts';

/** In the order of `--help`. Loaded only when called: `serve` needs no client, `exec` no Docker. */
const COMMANDS: ReadonlyMap<string, () => Promise<Command>> = new Map([
  ['serve', async () => (await import('./commands/serve.ts')).serveCommand()],
  ['exec', async () => (await import('./commands/exec.ts')).execCommand()],
  ['pods', async () => (await import('./commands/pods.ts')).podsCommand()],
  ['sessions', async () => (await import('./commands/sessions.ts')).sessionsCommand()],
  ['kubeconfig', async () => (await import('./commands/kubeconfig.ts')).kubeconfigCommand()],
  ['health', async () => (await import('./commands/health.ts')).healthCommand()],
  ['doctor', async () => (await import('./commands/doctor.ts')).doctorCommand()],
  ['version', async () => (await import('./commands/version.ts')).versionCommand()],
]);

/** Settings and usage. Anything else that fails is 1. */
const EXIT_USAGE = 2;

await run(process.argv.slice(2));

/** Runs the command line. A command that ends otherwise than with 0 sets `process.exitCode` itself, or throws. */
async function run(args: readonly string[]): Promise<void> {
  const program = new Command('execlet')
    .description("remote command execution into the containers of a Docker Engine, over the kubelet's exec API")
    .version(VERSION, '--version', 'print the version')
    .enablePositionalOptions() // options behind the command's name are the command's
    .exitOverride()
    .configureOutput({ outputError: () => undefined }); // reported below, in one line
  const called = COMMANDS.get(args[0] ?? '');
  for (const load of called === undefined ? COMMANDS.values() : [called]) {
    const command = await load();
    program.addCommand(command.copyInheritedSettings(program));
  }
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (cause) {
    process.exitCode = exitCodeOf(cause);
    if (process.exitCode !== 0 && !isHelp(cause)) process.stderr.write(`execlet: ${lineOf(cause)}\n`);
  }
}

function exitCodeOf(cause: unknown): number {
  if (cause instanceof CommanderError) return cause.exitCode === 0 ? 0 : EXIT_USAGE;
  return cause instanceof SettingsError ? EXIT_USAGE : 1;
}

/** Commander has shown the help instead of an error: no command was given. */
function isHelp(cause: unknown): boolean {
  return cause instanceof CommanderError && cause.code === 'commander.help';
}

function lineOf(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause);
  return message.replace(/^error: /, '').replaceAll(/\s*[\r\n]+\s*/g, ' ');
}
