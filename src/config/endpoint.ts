/** Where the Engine listens unless something else is said. */
const DEFAULT_ENDPOINT = 'unix:///var/run/docker.sock';

/** The Engine's endpoint when no setting names it: DOCKER_HOST, as for the docker command, then the default socket. */
export function defaultEndpoint(env: { readonly DOCKER_HOST?: string | undefined }): string {
  const { DOCKER_HOST } = env;
  return DOCKER_HOST === undefined || DOCKER_HOST === '' ? DEFAULT_ENDPOINT : DOCKER_HOST;
}

/**
 * Whether the text is an endpoint that execlet can speak to: `unix:///PATH`, or `tcp://`, `http://` or `https://` with a host
 * and perhaps a port. A path, query or credentials behind the host would be ignored, so they are malformed.
 */
export function isEndpoint(text: string): boolean {
  if (text.startsWith('unix://')) return /^unix:\/\/\/[^\0]*[^/\0]$/.test(text);
  const url = URL.parse(text);
  return url !== null && /^(tcp|https?):\/\/[^/?#@\s]+\/?$/.test(text) && url.hostname !== '' && url.port !== '0';
}
