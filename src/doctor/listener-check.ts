import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { hasAuthenticator, isLoopback, isOpen, usesTls } from '../config/access-settings.ts';
import { bindFailure } from '../config/bind-address.ts';
import type { Settings } from '../config/schema.ts';
import { note, notChecked, ok, problem, type Finding } from './check.ts';
import { probe, type Scheme } from './probe.ts';

const WILDCARDS: ReadonlyMap<string, string> = new Map([
  ['0.0.0.0', '127.0.0.1'],
  ['::', '::1'],
]);

/** Where the daemon listens by these settings, and who gets in. */
export function checkExposure(settings: Settings): readonly Finding[] {
  const { address, port, anonymousAuth, authorizationMode: mode } = settings;
  if (!isHere(address)) {
    const cause = Object.assign(new Error('not here'), { code: 'EADDRNOTAVAIL' });
    return [problem(bindFailure(cause, { host: address, port }, { host: '--address', port: '--port' }))];
  }
  const listens = `serve listens on ${schemeOf(settings)}://${hostAndPort(settings)}`;
  if (isOpen(settings)) {
    const who = "every local user and every container on the host's network may run commands in every container";
    const cure = 'an authenticator, such as --client-ca-file or --token-auth-file, with --authorization-mode';
    return [note(`${listens}, and ${who}: ${cure} turns that off`)];
  }
  const callers = [
    ...(hasAuthenticator(settings) ? ['callers who prove who they are'] : []),
    ...(anonymousAuth ? ['anonymous callers'] : []),
  ].join(' and ');
  if (mode === 'AlwaysAllow') {
    return [note(`${listens}, and ${callers} may do everything: --authorization-mode=Rules or Webhook limits that`)];
  }
  const decides = mode === 'Rules' ? 'the rules decide' : 'the API server decides';
  return [ok(`${listens}; ${callers} are let in, and ${decides} what they may do`)];
}

/** Whether something listens there already: an execlet, which says whether it is ready, or something else. */
export async function checkPort(settings: Settings): Promise<readonly Finding[]> {
  const { address, port } = settings;
  if (port === 0) return [notChecked('whether a daemon runs: which port 0 stands for, only that daemon knows')];
  const where = hostAndPort(settings);
  const host = WILDCARDS.get(address) ?? address;
  const scheme = schemeOf(settings);
  const found = await probe({ scheme, host, port });
  switch (found.kind) {
    case 'nobody':
      return [ok(`nothing listens on ${where}: no daemon runs there, and serve can start`)];
    case 'execlet': {
      if (found.problems.length === 0) return [ok(`an execlet runs on ${where}, and is ready`)];
      return [problem(`an execlet runs on ${where}, and is not ready (${found.problems.join('; ')}): see its log`)];
    }
    case 'other': {
      const otherScheme = scheme === 'http' ? 'https' : 'http';
      if ((await probe({ scheme: otherScheme, host, port })).kind === 'execlet') {
        const what = `an execlet runs on ${where} and speaks ${otherScheme}, and by these settings it would be ${scheme}`;
        return [problem(`${what}: it was started with others; see them, or start it anew`)];
      }
      const cure = 'see what it is (ss -ltnp), and stop it, or choose another port with --port';
      return [problem(`something that is no execlet listens on ${where} (${found.what}): ${cure}`)];
    }
  }
}

function isHere(address: string): boolean {
  if (isLoopback(address) || WILDCARDS.has(address)) return true;
  const known = Object.values(networkInterfaces()).flatMap(listed => listed ?? []);
  return known.some(({ address: one }) => one === address.replace(/%.*$/, ''));
}

function schemeOf(settings: Settings): Scheme {
  return usesTls(settings) ? 'https' : 'http';
}

function hostAndPort({ address, port }: Settings): string {
  return `${isIPv6(address) ? `[${address}]` : address}:${port}`;
}
