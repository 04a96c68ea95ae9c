import { Router, type Request, type Response } from 'express';
import type { Caller } from '../access/caller.ts';
import { ExecletError } from '../errors.ts';
import type { SessionTable } from '../exec/session-table.ts';
import { SESSIONS_PATH } from './action.ts';

/** What the gate leaves for those behind it. */
export interface Gated {
  /** Who asks, and may. */
  caller?: Caller;
}

/** The sessions of this node for whoever may see them, and an end of theirs for whoever may end them. */
export function sessionRoutes(sessions: Pick<SessionTable, 'list' | 'find' | 'end'>): Router {
  const routes = Router({ caseSensitive: true, strict: true });
  routes.get(SESSIONS_PATH, (_request, response) => {
    response.json({ sessions: sessions.list() });
  });
  routes.get(`${SESSIONS_PATH}/:id`, (request: Request<{ id: string }>, response) => {
    const { id } = request.params;
    const session = sessions.find(id);
    if (session === undefined) throw new ExecletError('HandlerNotFound', `session ${id} not found`);
    response.json(session);
  });
  routes.delete(`${SESSIONS_PATH}/:id`, (request: Request<{ id: string }>, response: Response<unknown, Gated>) => {
    const { caller } = response.locals;
    response.json(sessions.end(request.params.id, caller?.name ?? 'an administrator'));
  });
  return routes;
}
