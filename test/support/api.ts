import type { Daemon } from './daemon.ts';

/** An answer of a daemon that speaks plain HTTP; `body` is parsed where it is JSON. */
export interface ApiAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

/** Asks the daemon's API. */
export async function askApi(daemon: Pick<Daemon, 'url'>, path: string, method = 'GET'): Promise<ApiAnswer> {
  const response = await fetch(`${daemon.url}${path}`, { method, headers: { Connection: 'close' } });
  const text = await response.text();
  const isJson = response.headers.get('Content-Type')?.startsWith('application/json') === true;
  return { status: response.status, headers: response.headers, body: isJson ? (JSON.parse(text) as unknown) : text };
}
