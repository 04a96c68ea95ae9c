import { readFileSync, statSync, type Stats } from 'node:fs';
import type { EngineEndpoint } from '../docker/engine.ts';
import { messageOf } from './check.ts';

const START = 'start it (systemctl start docker), or see its log (journalctl --unit docker)';
const ELSEWHERE = 'where the Engine listens elsewhere, say so with --docker-endpoint or DOCKER_HOST';

/** What keeps the Engine from answering, and what to do about it: each cause has its own cure. */
export function explainEngineFailure(
  cause: unknown,
  { endpoint, timeoutMs, elapsedMs }: { endpoint: EngineEndpoint; timeoutMs: number; elapsedMs: number },
): string {
  const { text } = endpoint;
  const code = codeIn(cause);
  const local = 'socketPath' in endpoint;
  if (elapsedMs >= timeoutMs * 0.9 && (code === undefined || code === 'ECONNRESET')) {
    const what = local ? 'dockerd hangs, or is overloaded' : 'dockerd hangs, or a firewall drops what is sent to it';
    return `the Engine at ${text} has not answered within ${timeoutMs / 1_000} s: ${what}; see its log, and restart it`;
  }
  const known = local ? explainSocket(code, endpoint.socketPath) : explainRemote(code, text);
  return known ?? `${messageOf(cause)}; see whether this is an Engine, its log, and --docker-endpoint`;
}

function explainSocket(code: string | undefined, path: string): string | undefined {
  const stats = statOf(path);
  if (stats?.isDirectory() === true) {
    const why = 'Docker makes one where a container is given a path that is not there yet';
    return `${path} is a directory and not the Engine's socket: ${why}; remove it, start the Engine, then the container anew`;
  }
  if (stats !== undefined && !stats.isSocket()) return `${path} is not a socket: ${ELSEWHERE}`;
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return `there is no socket ${path}: dockerd does not run, or is not installed: ${START}; ${ELSEWHERE}; a container needs the socket as a mount`;
    case 'EACCES':
    case 'EPERM':
      return explainNoPermission(path, stats);
    case 'ECONNREFUSED':
      return `nobody listens on the socket ${path}, though it is there: dockerd has ended: ${START}; in a container, start that anew: it may have the socket of a dockerd before this one`;
    default:
      return undefined;
  }
}

function explainNoPermission(path: string, stats: Stats | undefined): string {
  const [uid = 0, gid = 0] = [process.getuid?.(), process.getgid?.()];
  const groups = [...new Set([gid, ...(process.getgroups?.() ?? [])])].map(groupText).join(', ');
  const us = `this user (uid ${uid}; groups: ${groups}) may not use the socket ${path}`;
  if (stats === undefined) return `${us}, nor look into its directory: run execlet as root`;
  const mode = (stats.mode & 0o777).toString(8).padStart(4, '0');
  const whose = `it belongs to uid ${stats.uid} and the group ${groupText(stats.gid)}, mode ${mode}`;
  const cure =
    stats.gid === 0
      ? 'run execlet as root'
      : 'run execlet as root, or put its user into that group (usermod --append --groups; SupplementaryGroups= of a unit; supplementalGroups of a pod)';
  return `${us}: ${whose}; ${cure}`;
}

function explainRemote(code: string | undefined, text: string): string | undefined {
  switch (code) {
    case 'ECONNREFUSED':
      return `nothing listens at ${text}: have dockerd listen there (its --host), or ${ELSEWHERE}`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `the host of ${text} is not known here (${code}): see its name, and this host's DNS; ${ELSEWHERE}`;
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ETIMEDOUT':
      return `the host of ${text} is not reached from here (${code}): see the routes and firewalls in between`;
    case 'EPROTO':
      return `the Engine at ${text} speaks no TLS: write tcp:// or http:// in --docker-endpoint`;
    default:
      return code !== undefined && /CERT|TLS|SSL|UNABLE_TO/.test(code)
        ? `no trusted TLS connection to the Engine at ${text} (${code}): see DOCKER_CERT_PATH, which holds ca.pem, cert.pem and key.pem`
        : undefined;
  }
}

/** The first code of the system's, of the error or of what it was caused by. */
function codeIn(cause: unknown): string | undefined {
  for (let error = cause; error instanceof Error; error = error.cause) {
    if ('code' in error && typeof error.code === 'string' && /^[A-Z][A-Z0-9_]+$/.test(error.code)) return error.code;
  }
  return undefined;
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined; // the connection's own failure says why
  }
}

/** `docker (998)`, or the number alone where this host has no name for it. */
function groupText(gid: number): string {
  const [name] = groupLines().find(([, , number]) => number === String(gid)) ?? [];
  return name === undefined ? String(gid) : `${name} (${gid})`;
}

function groupLines(): readonly (readonly string[])[] {
  try {
    return readFileSync('/etc/group', 'utf8')
      .split('\n')
      .map(line => line.split(':'));
  } catch {
    return [];
  }
}
