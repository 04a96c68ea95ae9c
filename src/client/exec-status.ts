import { z } from 'zod';
import { ClientError } from './client-error.ts';

const EXIT_CODE_CAUSE = 'ExitCode';

const optionalText = z.string().nullish();
const status = z.object({
  status: optionalText,
  message: optionalText,
  reason: optionalText,
  details: z.object({ causes: z.array(z.object({ reason: optionalText, message: optionalText })).nullish() }).nullish(),
});

/**
 * The exit code that the error stream of v4 and v5 carries, decoded as client-go does, with one difference: where client-go
 * takes an empty stream for success, the end of the command is unknown here, and that is a failure.
 *
 * @throws {ClientError} for every status that is no exit of the command, with the server's message
 */
export function exitCodeOf(errorStream: Buffer): number {
  const text = errorStream.toString('utf8');
  if (text === '') {
    throw new ClientError('the connection ended without a status: it is unknown how the command ended');
  }
  const decoded = decode(text);
  if (decoded.status === 'Success') return 0;
  if (decoded.status !== 'Failure') throw protocolError('unknown error');
  if (decoded.reason !== 'NonZeroExitCode') throw new ClientError(decoded.message ?? '(no message from the server)');
  if (decoded.details === null || decoded.details === undefined) throw protocolError('details must be set');
  const cause = decoded.details.causes?.find(({ reason }) => reason === EXIT_CODE_CAUSE);
  if (cause === undefined) throw protocolError(`no ${EXIT_CODE_CAUSE} cause given`);
  const exitCode = cause.message ?? '';
  if (!/^\d+$/.test(exitCode) || Number(exitCode) > 255) {
    throw protocolError(`invalid exit code value ${JSON.stringify(exitCode)}`);
  }
  return Number(exitCode);
}

function decode(text: string): z.infer<typeof status> {
  try {
    return status.parse(JSON.parse(text));
  } catch (error) {
    const why = error instanceof SyntaxError ? error.message : 'not a Status';
    throw protocolError(`${why} in ${JSON.stringify(text.slice(0, 1024))}`);
  }
}

function protocolError(what: string): ClientError {
  return new ClientError(`error stream protocol error: ${what}`);
}
