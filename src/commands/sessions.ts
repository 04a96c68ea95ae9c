import { setTimeout as delay } from 'node:timers/promises';
import { Command, Option } from 'commander';
import { ClientError } from '../client/client-error.ts';
import { addConnectionFlags, type ConnectionFlags } from '../client/connection-flags.ts';
import { resolveConnection } from '../client/connection.ts';
import { print } from '../client/output.ts';
import { endSession, fetchSessions, SessionTableText, wholeId, type SessionRow } from '../client/session-list.ts';
import { settle } from '../client/settle.ts';

const WATCH_INTERVAL_MS = 1_000;

interface ListFlags extends ConnectionFlags {
  readonly all?: boolean;
  readonly output: 'json' | 'table' | 'name';
  readonly watch?: boolean;
}

/** `execlet sessions`: who is in which container now, and the end of it. */
export function sessionsCommand(): Command {
  const list = new Command('list')
    .description('list the sessions of the daemon')
    .option('-a, --all', 'also the last ones that have ended')
    .option('-w, --watch', 'go on, and print each session that begins, or comes further; --all is implied')
    .addOption(
      new Option('-o, --output <FORMAT>', 'json is all that the daemon tells; with --watch one session a line')
        .choices(['table', 'json', 'name'])
        .default('table'),
    );
  const end = new Command('end')
    .description('end sessions; each client is told who did it')
    .argument('<ID...>', 'ids, or the beginnings of ids');
  return new Command('sessions')
    .description('list the sessions of the daemon, or end one')
    .addCommand(
      addConnectionFlags(list).action((flags: ListFlags) => settle(() => listSessions(flags))),
      { isDefault: true },
    )
    .addCommand(
      addConnectionFlags(end).action((ids: string[], flags: ConnectionFlags) => settle(() => endSessions(ids, flags))),
    );
}

async function listSessions(flags: ListFlags): Promise<number> {
  const connection = resolveConnection(flags, process.env);
  const { all = false, watch = false, output } = flags;
  const table = new SessionTableText();
  const show = (sessions: readonly SessionRow[]): string => {
    if (output === 'name') return sessions.map(({ id }) => `${id}\n`).join('');
    if (output === 'table') return table.lines(sessions);
    return watch
      ? sessions.map(session => `${JSON.stringify(session)}\n`).join('')
      : `${JSON.stringify({ sessions }, null, 2)}\n`;
  };
  const listed = await fetchSessions(connection);
  const sessions = listed.filter(({ state }) => all || state !== 'ended');
  if (!watch) {
    if (sessions.length === 0 && output !== 'json') await print('No sessions\n', process.stderr);
    else await print(show(sessions));
    return 0;
  }
  await print(show(sessions));
  let known = statesOf(listed);
  for (;;) {
    await delay(WATCH_INTERVAL_MS);
    const now = await fetchSessions(connection);
    // The newest comes first in the list, and last on a page that grows.
    const changed = now.filter(({ id, state }) => known.get(id) !== state).reverse();
    if (changed.length > 0) await print(show(changed));
    known = statesOf(now);
  }
}

function statesOf(sessions: readonly SessionRow[]): ReadonlyMap<string, string> {
  return new Map(sessions.map(({ id, state }) => [id, state]));
}

/** Every one that can be ended is; the first that cannot decides about the exit code. */
async function endSessions(ids: readonly string[], flags: ConnectionFlags): Promise<number> {
  const connection = resolveConnection(flags, process.env);
  const sessions = await fetchSessions(connection);
  const failures: ClientError[] = [];
  for (const given of ids) {
    try {
      const id = wholeId(sessions, given);
      await endSession(connection, id);
      await print(`session ${id} ended\n`);
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      failures.push(error);
    }
  }
  const [first, ...others] = failures;
  for (const { message } of others) await print(`execlet: ${message}\n`, process.stderr);
  if (first !== undefined) throw first;
  return 0;
}
