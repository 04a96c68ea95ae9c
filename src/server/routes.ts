import express, { type ErrorRequestHandler, type Express, type RequestHandler } from 'express';
import { ExecletError } from '../errors.ts';
import type { AccessControl } from './access-control.ts';
import { formOf, notFound, sendError } from './error-response.ts';
import { isExecPath } from './exec-request.ts';
import type { Exposition } from './exposition.ts';
import { healthEndpoint, type HealthCheck } from './health.ts';
import { Attempt } from './attempt.ts';
import type { Refusals } from './refusals.ts';
import type { ExecService } from './upgrade.ts';

export interface RoutesOptions {
  readonly access: Pick<AccessControl, 'check'>;
  readonly exec: Pick<ExecService, 'admit'>;
  readonly kubeApi: RequestHandler;
  /** What `/metrics` answers to a scraper with that `Accept` header. */
  readonly scrape: (accept: string | undefined) => Promise<Exposition>;
  /** What must hold before requests are sent here. */
  readonly readiness: readonly HealthCheck[];
  readonly refusals: Pick<Refusals, 'record'>;
}

/** Every path that is not an upgrade. */
export function createRoutes({ access, exec, kubeApi, scrape, readiness, refusals }: RoutesOptions): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.enable('case sensitive routing');
  app.enable('strict routing');

  // Open to probes. All that stands behind the gate was decided by it.
  app.get('/healthz', healthEndpoint('healthz', []));
  app.get('/livez', healthEndpoint('livez', []));
  app.get('/readyz', healthEndpoint('readyz', readiness));
  app.use(gate({ access, exec, refusals }));
  app.get('/metrics', async (request, response) => {
    const { contentType, text } = await scrape(request.headers.accept);
    response.set('Content-Type', contentType).end(text);
  });
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
  return async (request, _response, next) => {
    const attempt = new Attempt(request);
    const { pathname } = attempt;
    try {
      if (isExecPath(pathname)) {
        await exec.admit(attempt);
        attempt.stage = 'negotiate';
        throw new ExecletError('BadExecRequest', 'Upgrade request required');
      }
      await access.check(attempt);
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
