/** Where the Engine listens unless something else is said. */
const DEFAULT_ENDPOINT = 'unix:///var/run/docker.sock';

/** The Engine's endpoint when no setting names it: DOCKER_HOST, as for the docker command, then the default socket. */
export function defaultEndpoint(env: { readonly DOCKER_HOST?: string | undefined }): string {
  const { DOCKER_HOST } = env;
  return DOCKER_HOST === undefined || DOCKER_HOST === '' ? DEFAULT_ENDPOINT : DOCKER_HOST;
}

/** Where the Engine listens; `text` is what the user wrote, for messages. */
export type Endpoint =
  | { readonly text: string; readonly socketPath: string }
  | { readonly text: string; readonly protocol: 'http' | 'https'; readonly host: string; readonly port: number };

const DEFAULT_PORTS = { tcp: 2375, http: 80, https: 443 } as const;

/**
 * Reads `unix:///PATH`, or `tcp://`, `http://` or `https://` with a host and perhaps a port; undefined for anything else. A
 * path, query or credentials behind the host would be ignored, so they are malformed.
 */
export function parseEndpoint(text: string): Endpoint | undefined {
  if (text.startsWith('unix://')) {
    return /^unix:\/\/\/[^\0]*[^/\0]$/.test(text) ? { text, socketPath: text.slice('unix://'.length) } : undefined;
  }
  const [, scheme, authority = ''] = /^(tcp|http|https):\/\/([^/?#@\s]+)\/?$/.exec(text) ?? [];
  if (scheme !== 'tcp' && scheme !== 'http' && scheme !== 'https') return undefined;
  // Not of a scheme whose default port the URL would leave out.
  const url = URL.parse(`execlet://${authority}`);
  if (url === null || url.hostname === '' || url.port === '0') return undefined;
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1'); // an IPv6 address, as sockets want it
  const port = url.port === '' ? DEFAULT_PORTS[scheme] : Number(url.port);
  return { text, protocol: scheme === 'https' ? 'https' : 'http', host, port };
}
