/**
 * The daemon cannot start as it is configured: exit code 2. The message is one line that names the flag, or the file and its
 * key, and says what would do.
 */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';
}
