import express, { type ErrorRequestHandler, type Express, type RequestHandler } from 'express';
import { ExecletError } from '../errors.ts';
import { sendError } from './error-response.ts';
import { healthEndpoint, type HealthCheck } from './health.ts';
import { checkOrigin } from './origin.ts';
import { formOf, type ExecService } from './upgrade.ts';

export interface RoutesOptions {
  readonly exec: ExecService;
  readonly kubeApi: RequestHandler;
  /** What must hold before requests are sent here. */
  readonly readiness: readonly HealthCheck[];
}

/** Every path that is not an upgrade. */
export function createRoutes({ exec, kubeApi, readiness }: RoutesOptions): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');

  app.get('/healthz', healthEndpoint('healthz', []));
  app.get('/livez', healthEndpoint('livez', []));
  app.get('/readyz', healthEndpoint('readyz', readiness));

  app.use((request, _response, next) => {
    checkOrigin(request.headers);
    next();
  });
  app.all(['/exec/*path', '/api/v1/namespaces/:namespace/pods/:pod/exec'], request => {
    exec.admit(request);
    throw new ExecletError('BadExecRequest', 'Upgrade request required');
  });
  app.use(kubeApi);
  app.use(() => {
    throw new ExecletError('HandlerNotFound', '404: Page Not Found');
  });
  const answerError: ErrorRequestHandler = (cause, request, response, next) => {
    // Express throws a URIError for a path that does not decode.
    const error: unknown =
      cause instanceof URIError ? new ExecletError('BadExecRequest', cause.message, { cause }) : cause;
    if (response.headersSent) next(error);
    else sendError(response, error, formOf(request));
  };
  app.use(answerError);
  return app;
}
