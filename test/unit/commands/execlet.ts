import { join } from 'node:path';
import { CHECKOUT } from '../../support/checkout.ts';
import { runCommand } from '../../support/command.ts';

export interface ExecletResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command line as a process of its own, without the environment's DOCKER_HOST. */
export async function execlet(
  args: readonly string[],
  { env = {}, file = 'main.ts' }: { env?: Readonly<Record<string, string>>; file?: string } = {},
): Promise<ExecletResult> {
  const result = await runCommand(process.execPath, [join(CHECKOUT, 'src', file), ...args], {
    env: { ...process.env, DOCKER_HOST: '', ...env },
  });
  return { ...result, stdout: result.stdout.toString() };
}

/** The environment in which a Node process runs the module first. */
export function preloading(module: string): Readonly<Record<string, string>> {
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(module)}` };
}
