import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** `corpus`: inputs that reach something; `crashes`: inputs that once failed. Both are replayed by the tests. */
export type Collection = 'corpus' | 'crashes';

/** An input that is kept as a file. */
export interface KeptInput {
  readonly file: string;
  readonly input: Buffer;
}

/** The files of a target in one collection, in the order of their names. */
export function keptInputs(collection: Collection, target: string, root: string = import.meta.dirname): KeptInput[] {
  const folder = join(root, collection, target);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .sort()
    .map(name => ({ file: join(folder, name), input: readFileSync(join(folder, name)) }));
}

/** Keeps an input under a name made of its content; answers the file's path. */
export function keepInput(
  collection: Collection,
  target: string,
  input: Buffer,
  root: string = import.meta.dirname,
): string {
  const folder = join(root, collection, target);
  mkdirSync(folder, { recursive: true });
  const file = join(folder, createHash('sha256').update(input).digest('hex').slice(0, 12));
  writeFileSync(file, input);
  return file;
}
