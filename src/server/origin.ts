import { isIPv4 } from 'node:net';
import { ExecletError } from '../errors.ts';

/**
 * Refuses what a web page could have sent.
 *
 * Without authentication the daemon serves whoever can reach loopback, and a browser on this host can: pages name themselves
 * in `Origin`, and a page whose name was rebound to 127.0.0.1 still sends that name as `Host`.
 *
 * @throws {ExecletError} NotAllowed
 */
export function checkOrigin(headers: { host?: string | undefined; origin?: string | undefined }): void {
  if (headers.origin !== undefined) {
    throw new ExecletError('NotAllowed', 'requests with an Origin header are refused: web pages may not use execlet');
  }
  if (!isLoopbackHost(headers.host ?? '')) {
    throw new ExecletError(
      'NotAllowed',
      'the Host header is not a loopback address, and without authentication nothing else is served',
    );
  }
}

/** Whether a Host header names this host's loopback: 127.0.0.0/8, ::1 or localhost, with or without a port. */
export function isLoopbackHost(host: string): boolean {
  const name = host.replace(/:\d+$/, '').toLowerCase();
  return name === 'localhost' || name === '[::1]' || (isIPv4(name) && name.startsWith('127.'));
}
