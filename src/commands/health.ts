import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { Command } from 'commander';
import { ClientError, messageOf } from '../client/client-error.ts';
import { print } from '../client/output.ts';
import { settle } from '../client/settle.ts';
import { answerTo, startOf } from '../doctor/probe.ts';
import { request as httpRequest } from '../node-http.ts';

/** With TLS or without: the daemon on this host may have either. */
const DEFAULT_SERVERS = ['http://127.0.0.1:10350', 'https://127.0.0.1:10350'];
const TIMEOUT_MS = 5_000;

interface HealthFlags {
  readonly server?: string;
  readonly ready?: boolean;
}

/** `execlet health`: what a health check of a container runs. Exits with 0 where the daemon says it is well, else with 1. */
export function healthCommand(): Command {
  return new Command('health')
    .description(
      'ask the daemon whether it lives, for the health checks of a container; exits with 1 where it does not',
    )
    .option('-s, --server <URL>', 'address of the daemon (default: the daemon on this host, 127.0.0.1:10350)')
    .option('--ready', 'ask whether it takes sessions: whether the Engine answers, and it is not stopping')
    .action(({ server, ready = false }: HealthFlags) => settle(() => checkHealth(serversOf(server), ready)));
}

function serversOf(server: string | undefined): readonly string[] {
  if (server === undefined) return DEFAULT_SERVERS;
  const { protocol, origin } = URL.canParse(server) ? new URL(server) : { protocol: '', origin: '' };
  if (protocol === 'http:' || protocol === 'https:') return [origin];
  throw ClientError.usage(`--server: "${server}" is not an http:// or https:// URL`);
}

async function checkHealth(servers: readonly string[], ready: boolean): Promise<number> {
  const path = `/${ready ? 'readyz' : 'livez'}?verbose`;
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  let failure: unknown;
  for (const server of servers) {
    try {
      const answer = await get(new URL(path, server), signal);
      await print(await startOf(answer));
      return answer.statusCode === 200 ? 0 : 1;
    } catch (cause) {
      failure = cause;
    }
  }
  const reason = signal.aborted ? `not within ${TIMEOUT_MS / 1000} s` : messageOf(failure);
  throw new ClientError(`the daemon at ${servers.join(' or ')} does not answer (${reason})`, { cause: failure });
}

/** Whose certificate it is does not matter, as to a kubelet's probes: nothing secret is sent, and nothing believed but this answer. */
function get(url: URL, signal: AbortSignal): Promise<IncomingMessage> {
  const options = { agent: false, signal } as const;
  return answerTo(
    url.protocol === 'https:'
      ? httpsRequest(url, { ...options, rejectUnauthorized: false })
      : httpRequest(url, options),
  );
}
