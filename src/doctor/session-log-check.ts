import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { STDOUT } from '../files/append-file.ts';
import { messageOf, ok, problem, type Finding } from './check.ts';
import { directoryProblem, diskProblem } from './file-check.ts';

/** Whether the session log could be written. No record is written, and no file is made. */
export async function checkSessionLog(target: string | undefined): Promise<readonly Finding[]> {
  if (target === undefined) return [];
  if (target === STDOUT) return [ok('the session log goes to stdout')];
  const why = await writeProblem(target);
  if (why === undefined) return [ok(`the session log ${target} can be written`)];
  const cure = 'make its directory, let this user write there, or make room';
  return [problem(`the session log ${target} cannot be written (${why}): ${cure}`)];
}

async function writeProblem(target: string): Promise<string | undefined> {
  try {
    const stats = await stat(target);
    if (stats.isDirectory()) return 'it is a directory';
    const { R_OK, W_OK } = constants;
    await access(target, stats.isFile() ? R_OK | W_OK : W_OK); // the daemon reads how a file ends
    return stats.isFile() ? await diskProblem(target) : undefined;
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    return missing ? directoryProblem(dirname(target)) : messageOf(cause);
  }
}
