import { Router, type Request, type Response } from 'express';

/** One condition behind a health endpoint: undefined when it holds, else what is wrong. */
export interface HealthCheck {
  readonly name: string;
  readonly problem: () => string | undefined;
}

/** What must hold for each of the two questions; the third, `/healthz`, asks for no more than an answer. */
export interface HealthChecks {
  /** `/livez`: whether the daemon should be left alone, or started again. */
  readonly liveness: readonly HealthCheck[];
  /** `/readyz`: whether requests should be sent to it. */
  readonly readiness: readonly HealthCheck[];
}

const HEALTH_PATH = /^\/(healthz|livez|readyz)(\/[^/]+)?$/;

/** Whether a path is one of those that are open to probes. */
export function isHealthPath(pathname: string): boolean {
  return HEALTH_PATH.test(pathname);
}

/** The endpoints for probes, as the API server has them: each of several checks, and one path for each check. */
export function healthRoutes({ liveness, readiness }: HealthChecks): Router {
  const routes = Router({ caseSensitive: true, strict: true });
  const endpoints: [path: string, checks: readonly HealthCheck[]][] = [
    ['/healthz', []],
    ['/livez', liveness],
    ['/readyz', readiness],
  ];
  for (const [path, checks] of endpoints) {
    routes.get(path, healthEndpoint(path.slice(1), checks));
    for (const check of checks) routes.get(`${path}/${check.name}`, healthEndpoint(check.name, [check]));
  }
  return routes;
}

/** Answers `ok`, or 503 with the checks that fail; `?verbose` lists every check, in the API server's words. */
function healthEndpoint(name: string, checks: readonly HealthCheck[]) {
  return (request: Request, response: Response): void => {
    const results = checks.map(check => ({ name: check.name, problem: check.problem() }));
    const failed = results.some(({ problem }) => problem !== undefined);
    const lines = results.map(({ name: checked, problem }) =>
      problem === undefined ? `[+]${checked} ok` : `[-]${checked} failed: ${problem}`,
    );
    response.status(failed ? 503 : 200).type('text/plain');
    if (!failed && request.query.verbose === undefined) response.send('ok');
    else response.send([...lines, `${name} check ${failed ? 'failed' : 'passed'}`, ''].join('\n'));
  };
}

const BEAT_INTERVAL_MS = 1_000;
/** Whoever asks is answered between two turns of the event loop; timers that are so late say that a turn takes too long. */
const MISSED_BEAT_MS = 10_000;

/** Tells whether the event loop still comes round to its timers. */
export class Heartbeat {
  readonly #timer = setInterval(() => (this.#lastAt = performance.now()), BEAT_INTERVAL_MS).unref();
  #lastAt = performance.now();

  get check(): HealthCheck {
    return {
      name: 'event-loop',
      problem: () => {
        const ms = performance.now() - this.#lastAt;
        return ms < MISSED_BEAT_MS ? undefined : `it has not come round for ${Math.round(ms / 1_000)} s`;
      },
    };
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
