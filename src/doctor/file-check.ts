import { constants } from 'node:fs';
import { access, stat, statfs } from 'node:fs/promises';
import { messageOf, problem, type Finding } from './check.ts';

const OTHERS_MAY_READ = 0o004;

/** A problem where every user of this host may read a file that holds a secret; else undefined. */
export async function checkPrivate(what: string, path: string): Promise<Finding | undefined> {
  const { mode } = await stat(path);
  if ((mode & OTHERS_MAY_READ) === 0) return undefined;
  const modeText = (mode & 0o777).toString(8).padStart(4, '0');
  const cure = `chmod o= ${path}; in a pod, defaultMode: 0400 of its volume`;
  return problem(`${what} ${path} may be read by every user (mode ${modeText}): ${cure}`);
}

/** Why no file can be made in the directory; undefined where one can be. Nothing is written. */
export async function directoryProblem(path: string): Promise<string | undefined> {
  try {
    if (!(await stat(path)).isDirectory()) return `${path} is not a directory`;
    await access(path, constants.W_OK | constants.X_OK);
    return await diskProblem(path);
  } catch (cause) {
    return messageOf(cause);
  }
}

/** Says so where there is no room left; undefined where there is. */
export async function diskProblem(path: string): Promise<string | undefined> {
  const { bavail, blocks } = await statfs(path);
  return blocks > 0 && bavail === 0 ? `the disk of ${path} is full` : undefined; // some file systems count nothing
}

export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
