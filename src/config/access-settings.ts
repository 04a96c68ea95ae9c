import { isIPv4 } from 'node:net';
import type { Settings } from './schema.ts';

/** A setting that cannot be used as it is given, by its key, and what to do about it. */
export interface SettingProblem {
  readonly key: keyof Settings;
  readonly problem: string;
}

/** Whether an address is reached from this host only. */
export function isLoopback(address: string): boolean {
  return address === 'localhost' || address === '::1' || (isIPv4(address) && address.startsWith('127.'));
}

/** Whether some caller can prove who they are. Being anonymous is no proof. */
export function hasAuthenticator(settings: Settings): boolean {
  const { clientCaFile, requestheaderClientCaFile, tokenAuthFile, authenticationTokenWebhook } = settings;
  return (
    [clientCaFile, requestheaderClientCaFile, tokenAuthFile].some(file => file !== undefined) ||
    authenticationTokenWebhook
  );
}

/** Whether everything is allowed to whoever can reach the daemon: on a loopback address where nothing else was said. */
export function isOpen(settings: Settings): boolean {
  return (
    isLoopback(settings.address) &&
    !hasAuthenticator(settings) &&
    !settings.anonymousAuth &&
    settings.authorizationMode === undefined
  );
}

/** TLS is spoken on every address that is not loopback, and where a setting has no sense without it. */
export function usesTls({ address, tlsCertFile, certDir, clientCaFile, requestheaderClientCaFile }: Settings): boolean {
  const implied = [tlsCertFile, certDir, clientCaFile, requestheaderClientCaFile].some(given => given !== undefined);
  return implied || !isLoopback(address);
}

/** Whether the API server is asked about anything. */
export function usesApiServer({ authenticationTokenWebhook, authorizationMode }: Settings): boolean {
  return authenticationTokenWebhook || authorizationMode === 'Webhook';
}

/** The first thing that is missing or contradicts another setting; undefined when nothing does. */
export function accessProblem(settings: Settings): SettingProblem | undefined {
  const { authorizationMode: mode } = settings;
  if (settings.requestheaderClientCaFile !== undefined && settings.requestheaderAllowedNames === undefined) {
    return {
      key: 'requestheaderClientCaFile',
      problem: 'needs --requestheader-allowed-names: the common names of the front proxies, or "*" for any of that CA',
    };
  }
  if (settings.requestheaderAllowedNames !== undefined && settings.requestheaderClientCaFile === undefined) {
    return { key: 'requestheaderAllowedNames', problem: 'needs --requestheader-client-ca-file too' };
  }
  if (!isLoopback(settings.address) && !hasAuthenticator(settings)) {
    return {
      key: 'address',
      problem:
        `${settings.address} is not a loopback address, and needs a way to authenticate callers: --client-ca-file, ` +
        '--requestheader-client-ca-file, --token-auth-file or --authentication-token-webhook',
    };
  }
  if (mode === undefined && !isOpen(settings)) {
    return {
      key: 'authorizationMode',
      problem: 'must be said where callers are authenticated: Webhook, Rules or AlwaysAllow',
    };
  }
  if (mode !== undefined && !hasAuthenticator(settings) && !settings.anonymousAuth) {
    return {
      key: 'authorizationMode',
      problem:
        'needs a way to authenticate callers, such as --client-ca-file or --token-auth-file, or --anonymous-auth',
    };
  }
  if ((mode === 'Rules') !== (settings.authorizationRulesFile !== undefined)) {
    return mode === 'Rules'
      ? { key: 'authorizationMode', problem: 'Rules needs --authorization-rules-file too' }
      : { key: 'authorizationRulesFile', problem: 'needs --authorization-mode=Rules too' };
  }
  if (settings.authorizationResource !== 'pods/exec' && mode !== 'Webhook') {
    return { key: 'authorizationResource', problem: 'needs --authorization-mode=Webhook too' };
  }
  if (settings.anonymousAuth && mode === 'AlwaysAllow' && !isLoopback(settings.address)) {
    return {
      key: 'anonymousAuth',
      problem: `with --authorization-mode=AlwaysAllow everybody who reaches ${settings.address} could run commands in every container`,
    };
  }
  if (settings.kubeconfig !== undefined && !usesApiServer(settings)) {
    return { key: 'kubeconfig', problem: 'needs --authentication-token-webhook or --authorization-mode=Webhook too' };
  }
  return undefined;
}
