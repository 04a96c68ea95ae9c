import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, constants } from 'node:fs/promises';
import { constants as osConstants } from 'node:os';
import { delimiter, join } from 'node:path';

export interface CommandResult {
  /** As a shell counts it: 128 + n after a death by signal. */
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface CommandOptions {
  /** Sent and then closed; without it the command reads /dev/null. */
  readonly stdin?: string | Buffer;
  /** The whole environment; without it, ours. */
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly signal?: AbortSignal;
  /** Kills the command, and rejects, when it runs longer; 60 000 unless given. */
  readonly timeoutMs?: number;
}

/**
 * Runs a command to its end. Any exit code is a result; what rejects is a command that cannot start, that runs out of time,
 * or whose signal aborts.
 */
export async function runCommand(
  file: string,
  args: readonly string[],
  { stdin, env, cwd, signal, timeoutMs = 60_000 }: CommandOptions = {},
): Promise<CommandResult> {
  const child = spawn(file, args, {
    ...(env !== undefined && { env }),
    ...(cwd !== undefined && { cwd }),
    ...(signal !== undefined && { signal }),
    killSignal: 'SIGKILL',
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const overdue = new AbortController();
  const timer = setTimeout(() => {
    overdue.abort();
    child.kill('SIGKILL');
  }, timeoutMs);
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  child.stdin.on('error', () => undefined); // A command may end without reading all its input.
  child.stdin.end(stdin);
  try {
    await once(child, 'close');
  } finally {
    clearTimeout(timer);
  }
  const result = {
    exitCode: exitCodeOf(child.exitCode, child.signalCode),
    stdout: Buffer.concat(stdout),
    stderr: Buffer.concat(stderr).toString(),
  };
  if (overdue.signal.aborted)
    throw new Error(`${file} ${args.join(' ')} ran longer than ${timeoutMs} ms\n${describe(result)}`);
  return result;
}

/** Runs a command that must succeed, and answers its stdout; the error tells what the command said. */
export async function mustRun(file: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const result = await runCommand(file, args, options);
  if (result.exitCode !== 0) {
    throw new Error(`${file} ${args.join(' ')} ended with ${result.exitCode}\n${describe(result)}`);
  }
  return result.stdout.toString();
}

/** The exit code as a shell would give it. */
export function exitCodeOf(exitCode: number | null, signal: NodeJS.Signals | null): number {
  return exitCode ?? 128 + (signal === null ? 0 : osConstants.signals[signal]);
}

/** The first file of that name on PATH, or where only root's PATH looks; undefined where there is none. */
export async function findExecutable(name: string): Promise<string | undefined> {
  const directories = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  for (const directory of directories.filter(path => path !== '')) {
    const file = join(directory, name);
    if (await isExecutable(file)) return file;
  }
  return undefined;
}

export async function isExecutable(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}

function describe({ stdout, stderr }: CommandResult): string {
  return `${stdout.subarray(-2000).toString()}\n${stderr.slice(-2000)}`.trim();
}
