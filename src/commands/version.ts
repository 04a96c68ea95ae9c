import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { text } from 'node:stream/consumers';
import { Command } from 'commander';
import { defaultEndpoint, parseEndpoint, type Endpoint } from '../config/endpoint.ts';
import { SettingsError } from '../config/settings-error.ts';
import { request as httpRequest } from '../node-http.ts';
import { VERSION } from '../version.ts';

const ENGINE_TIMEOUT_MS = 2_000;

/** `execlet version`: execlet, Node and, where one answers, the Engine. */
export function versionCommand(): Command {
  return new Command('version')
    .description('print the versions of execlet, Node and the Engine')
    .option(
      '--docker-endpoint <URL>',
      'where the Docker Engine listens (default: DOCKER_HOST, then unix:///var/run/docker.sock)',
    )
    .action(async ({ dockerEndpoint }: { dockerEndpoint?: string }) => {
      const text = dockerEndpoint ?? defaultEndpoint(process.env);
      const endpoint = parseEndpoint(text);
      if (endpoint === undefined) {
        const source = dockerEndpoint === undefined ? 'DOCKER_HOST' : '--docker-endpoint';
        throw new SettingsError(`${source}: ${JSON.stringify(text)} is not an endpoint of the Engine`);
      }
      process.stdout.write(`execlet ${VERSION}\nNode ${process.version}\nEngine ${await engineVersion(endpoint)}\n`);
    });
}

/** The Engine's version, or why there is none to tell. */
async function engineVersion(endpoint: Endpoint): Promise<string> {
  try {
    const { Version: version, ApiVersion: apiVersion } = await askEngine(endpoint);
    if (typeof version !== 'string' || typeof apiVersion !== 'string')
      return `unknown: ${endpoint.text} is not an Engine`;
    return `${version} (API ${apiVersion}) at ${endpoint.text}`;
  } catch (cause) {
    return `unknown: ${endpoint.text} does not answer (${cause instanceof Error ? describe(cause) : String(cause)})`;
  }
}

/** The fields of the answer to `/version`. A plain request, since dockerode takes longer to load than to ask. */
async function askEngine(endpoint: Endpoint): Promise<Readonly<Record<string, unknown>>> {
  const response = await get(endpoint, AbortSignal.timeout(ENGINE_TIMEOUT_MS));
  const answer: unknown = JSON.parse(await text(response));
  return typeof answer === 'object' ? { ...answer } : {};
}

function get(endpoint: Endpoint, signal: AbortSignal): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const overTls = 'protocol' in endpoint && endpoint.protocol === 'https';
  const request = (overTls ? httpsRequest : httpRequest)(
    { ...endpoint, protocol: null, path: '/version', signal },
    resolve,
  );
  request.on('error', reject).end();
  return promise;
}

function describe(cause: Error): string {
  if (cause.name === 'AbortError' || cause.name === 'TimeoutError') return `not within ${ENGINE_TIMEOUT_MS / 1000} s`;
  return cause.message === '' && 'code' in cause ? String(cause.code) : cause.message;
}
