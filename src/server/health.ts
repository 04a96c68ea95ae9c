import type { Request, Response } from 'express';

/** One condition behind a health endpoint: undefined when it holds, else what is wrong. */
export interface HealthCheck {
  readonly name: string;
  readonly problem: () => string | undefined;
}

/** Answers `ok`, or 503 with the checks that fail; `?verbose` lists every check, in the API server's words. */
export function healthEndpoint(path: string, checks: readonly HealthCheck[]) {
  return (request: Request, response: Response): void => {
    const results = checks.map(({ name, problem }) => ({ name, problem: problem() }));
    const failed = results.some(({ problem }) => problem !== undefined);
    const lines = results.map(({ name, problem }) =>
      problem === undefined ? `[+]${name} ok` : `[-]${name} failed: ${problem}`,
    );
    response.status(failed ? 503 : 200).type('text/plain');
    if (!failed && request.query.verbose === undefined) response.send('ok');
    else response.send([...lines, `${path} check ${failed ? 'failed' : 'passed'}`, ''].join('\n'));
  };
}
