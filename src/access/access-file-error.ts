/**
 * A file that says who is who, or who may do what, cannot be used. The message is one line that names the place in the file, and
 * holds no credential of it.
 */
export class AccessFileError extends Error {
  override readonly name = 'AccessFileError';
}
