import { ClientError } from './client-error.ts';
import { print } from './output.ts';

/**
 * Runs a command to its end and leaves its result where the process takes it: the exit code in `process.exitCode`, a failure
 * as one line on stderr. The process then ends by itself, with all its output written.
 */
export async function settle(command: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await command();
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
    process.exitCode = error.exitCode;
    // stderr may be as broken as stdout: then there is nobody left to tell.
    if (error.message !== '') await print(`execlet: ${error.message}\n`, process.stderr).catch(() => undefined);
  }
}
