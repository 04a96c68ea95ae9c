import { isIPv4 } from 'node:net';
import { ExecletError } from '../errors.ts';

/**
 * Refuses what a web page could have sent: browsers add what they hold, a client certificate among it, to requests of any page.
 *
 * Pages name themselves in `Origin`. `allowedOrigins` as browsers write them: `https://console.example.com`. Some clients that are no
 * browser, Python's websocket-client for one, name the server that they call; a page of that name there is none, since execlet
 * serves none, and one whose name was rebound to us fails at the certificate, or at `checkLoopbackHost`.
 *
 * @throws {ExecletError} NotAllowed
 */
export function checkOrigin(
  { origin, host = '' }: { origin?: string | undefined; host?: string | undefined },
  { tls, allowedOrigins }: { tls: boolean; allowedOrigins: ReadonlySet<string> },
): void {
  if (origin === undefined || allowedOrigins.has(origin)) return;
  if (origin.toLowerCase() === `${tls ? 'https' : 'http'}://${host.toLowerCase()}`) return;
  throw new ExecletError(
    'NotAllowed',
    'requests from web pages are refused: the Origin header is not one of --allowed-origins',
  );
}

/**
 * Refuses what is not addressed to loopback. A browser on this host reaches a daemon that asks for no credential, and a page whose
 * name was rebound to 127.0.0.1 still sends that name as `Host`.
 *
 * @throws {ExecletError} NotAllowed
 */
export function checkLoopbackHost({ host = '' }: { host?: string | undefined }): void {
  if (isLoopbackHost(host)) return;
  throw new ExecletError(
    'NotAllowed',
    'the Host header is not a loopback address, and without authentication nothing else is served',
  );
}

/** Whether a Host header names this host's loopback: 127.0.0.0/8, ::1 or localhost, with or without a port. */
export function isLoopbackHost(host: string): boolean {
  const name = host.replace(/:\d+$/, '').toLowerCase();
  return name === 'localhost' || name === '[::1]' || (isIPv4(name) && name.startsWith('127.'));
}
