import express, { type ErrorRequestHandler, type Express, type RequestHandler, type Response } from 'express';
import { ExecletError } from '../errors.ts';
import type { SessionTable } from '../exec/session-table.ts';
import type { AccessControl } from './access-control.ts';
import { formOf, notFound, sendError } from './error-response.ts';
import { isExecPath } from './exec-request.ts';
import type { Exposition } from './exposition.ts';
import { healthRoutes, type HealthChecks } from './health.ts';
import { Attempt } from './attempt.ts';
import type { Refusals } from './refusals.ts';
import { sessionRoutes, type Gated } from './session-routes.ts';
import type { ExecService } from './upgrade.ts';

export interface RoutesOptions {
  readonly access: Pick<AccessControl, 'check'>;
  readonly exec: Pick<ExecService, 'admit'>;
  readonly kubeApi: RequestHandler;
  /** What `/metrics` answers to a scraper with that `Accept` header. */
  readonly scrape: (accept: string | undefined) => Promise<Exposition>;
  readonly sessions: Pick<SessionTable, 'list' | 'find' | 'end'>;
  readonly health: HealthChecks;
  readonly refusals: Pick<Refusals, 'record'>;
}

/** Every path that is not an upgrade. */
export function createRoutes(options: RoutesOptions): Express {
  const { access, exec, kubeApi, scrape, sessions, health, refusals } = options;
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.enable('case sensitive routing');
  app.enable('strict routing');

  // Open to probes. All that stands behind the gate was decided by it.
  app.use(healthRoutes(health));
  app.use(gate({ access, exec, refusals }));
  app.get('/metrics', async (request, response) => {
    const { contentType, text } = await scrape(request.headers.accept);
    response.set('Content-Type', contentType).end(text);
  });
  app.use(sessionRoutes(sessions));
  app.use(kubeApi);
  app.use(request => {
    throw notFound(request);
  });
  const answerError: ErrorRequestHandler = (cause, request, response, next) => {
    if (response.headersSent) next(cause);
    else sendError(response, cause, formOf(request));
  };
  app.use(answerError);
  return app;
}

/** Lets a request through when its caller may do what it asks for, by the functions that decide about upgrades too. */
function gate({ access, exec, refusals }: Pick<RoutesOptions, 'access' | 'exec' | 'refusals'>): RequestHandler {
  return async (request, response: Response<unknown, Gated>, next) => {
    const attempt = new Attempt(request);
    const { pathname } = attempt;
    try {
      if (isExecPath(pathname)) {
        await exec.admit(attempt);
        attempt.stage = 'negotiate';
        throw new ExecletError('BadExecRequest', 'Upgrade request required');
      }
      const { caller } = await access.check(attempt);
      response.locals.caller = caller;
      // What express would take for another path than we do is none of ours.
      if (request.path !== pathname) throw notFound(request);
    } catch (cause) {
      const error = ExecletError.from(cause);
      refusals.record(attempt, error);
      throw error;
    }
    next();
  };
}
