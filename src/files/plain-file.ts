import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';

/** What a shell gives for `<(command)`. */
const SUBSTITUTION = /^\/(dev|proc\/self)\/fd\/\d+$/;

/**
 * The text of a file that a setting names. A pipe that nobody writes to would keep its reader for ever, and a device may never end: neither
 * is read, but for a shell's process substitution.
 *
 * @throws as `fs.readFileSync` does, and for what is no file
 */
export function readPlainFile(path: string): string {
  if (SUBSTITUTION.test(path)) return readFileSync(path, 'utf8');
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK); // to open a pipe waits as well
  try {
    const stats = fstatSync(file);
    if (!stats.isFile() && !stats.isDirectory()) throw new Error('it is no regular file');
    return readFileSync(file, 'utf8');
  } finally {
    closeSync(file);
  }
}
