/**
 * The daemon cannot start as it is configured: exit code 2. The message is one line that names the flag, or the file and its
 * key, and says what would do.
 */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';
}

/** For what only its use shows to be wrong: the failure as one of the setting. */
export async function orSettingsError<T>(flag: string, used: Promise<T>): Promise<T> {
  try {
    return await used;
  } catch (cause) {
    throw new SettingsError(`${flag}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}
