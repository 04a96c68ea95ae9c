import { z } from 'zod';
import { humanDuration } from '../human-duration.ts';
import { requestJson } from './api-request.ts';
import { ClientError } from './client-error.ts';
import type { Connection } from './connection.ts';
import { TextTable } from './text-table.ts';

const SESSIONS_PATH = '/execlet/v1/sessions';
/** As many characters of an id as tell the sessions of a node apart. */
const SHORT_ID_LENGTH = 8;

/** Only what is shown; `-o json` has all that the server sent. */
const session = z.looseObject({
  id: z.string(),
  state: z.string(),
  user: z.string(),
  namespace: z.string(),
  pod: z.string(),
  container: z.string(),
  program: z.string(),
  durationMs: z.number(),
  idleMs: z.number().optional(),
  reason: z.string().optional(),
  exitCode: z.number().optional(),
});
const sessionList = z.object({ sessions: z.array(session) });

/** A session as the server describes it. */
export type SessionRow = z.infer<typeof session>;

/** Those that run, the newest first, and then the last ones that ended. */
export async function fetchSessions(connection: Connection): Promise<SessionRow[]> {
  const parsed = sessionList.safeParse(await requestJson(connection, SESSIONS_PATH));
  if (!parsed.success) throw new ClientError(`${connection.server.origin} did not answer with a list of sessions`);
  return parsed.data.sessions;
}

/** Ends a session; `id` is whole. */
export async function endSession(connection: Connection, id: string): Promise<void> {
  await requestJson(connection, `${SESSIONS_PATH}/${encodeURIComponent(id)}`, { method: 'DELETE' });
}

/**
 * The whole id of the one session that it is the beginning of.
 *
 * @throws {ClientError} where there is none, or more than one
 */
export function wholeId(sessions: readonly SessionRow[], beginning: string): string {
  const matching = sessions.filter(({ id }) => id.startsWith(beginning));
  const [first, second] = matching;
  if (first === undefined) throw new ClientError(`session ${beginning} not found`);
  if (second !== undefined) {
    throw ClientError.usage(`${beginning} may be any of ${matching.map(({ id }) => id).join(', ')}`);
  }
  return first.id;
}

/** Aligned columns under headings, to which more lines may be added. */
export class SessionTableText {
  readonly #table = new TextTable([
    'ID',
    'STATE',
    'USER',
    'NAMESPACE',
    'POD',
    'CONTAINER',
    'PROGRAM',
    'AGE',
    'IDLE',
    'END',
  ]);

  lines(sessions: readonly SessionRow[]): string {
    return this.#table.lines(
      sessions.map(({ id, state, user, namespace, pod, container, program, durationMs, idleMs, reason, exitCode }) => [
        id.slice(0, SHORT_ID_LENGTH),
        state,
        printable(user),
        namespace,
        pod,
        container,
        printable(program),
        humanDuration(durationMs),
        idleMs === undefined ? '-' : humanDuration(idleMs),
        exitCode === undefined ? (reason ?? '-') : `${reason ?? ''} ${exitCode}`,
      ]),
    );
  }
}

/** Callers choose these freely: what would move the cursor, or break the line, is shown as a question mark. */
function printable(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '?');
}
