import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

/** The root of the checkout. */
export const CHECKOUT = join(import.meta.dirname, '..', '..');

/** A directory below `.cache/` of the checkout, the only place where tests keep anything between runs. */
export async function cacheDirectory(name: string): Promise<string> {
  const directory = join(CHECKOUT, '.cache', name);
  await mkdir(directory, { recursive: true });
  return directory;
}
