import { ApiReviews } from './access/api-reviews.ts';
import { Authentication, OPEN, type TokenAuthenticator } from './access/authentication.ts';
import { ALWAYS_ALLOW, type Authorizer } from './access/authorization.ts';
import { CertificateBundle } from './access/certificate-bundle.ts';
import { FrontProxy } from './access/front-proxy.ts';
import { parseRules } from './access/rules.ts';
import { parseTokenFile } from './access/token-file.ts';
import { TokenReviewer } from './access/token-reviewer.ts';
import { WebhookAuthorizer } from './access/webhook-authorizer.ts';
import { isLoopback, isOpen, usesApiServer } from './config/access-settings.ts';
import type { Settings } from './config/schema.ts';
import { orSettingsError } from './config/settings-error.ts';
import type { Logger } from './log.ts';
import type { Metrics, ReloadedFile } from './metrics.ts';
import { AccessControl } from './server/access-control.ts';
import { WatchedFiles } from './files/watched-file.ts';

/** Who may, by the settings, and the files and servers that know it. */
export interface Access {
  readonly control: AccessControl;
  /** The CAs that a TLS client's certificate may be of, users' and front proxies' together; PEM. */
  clientAuthorities(): string[];
  /** Reads every file again. Resolves when that is done, whatever came of it. */
  reload(): Promise<void>;
  close(): void;
}

interface AccessOptions {
  readonly settings: Settings;
  readonly metrics: Metrics;
  readonly log: Logger;
  /** `clientAuthorities` answers something else now. */
  readonly onClientAuthorities: () => void;
}

/**
 * Reads the files that say who is who and who may what, and prepares to ask the API server.
 *
 * Rejects with one line for a file, or a kubeconfig, that cannot be used.
 */
export async function openAccess({ settings, metrics, log, onClientAuthorities }: AccessOptions): Promise<Access> {
  const files: WatchedFiles<unknown>[] = [];
  const watched = async <T extends { readonly problems: readonly string[] }>(
    file: ReloadedFile,
    path: string | undefined,
    parse: (text: string) => T,
    reloaded: () => void = () => undefined,
  ): Promise<WatchedFiles<T> | undefined> => {
    if (path === undefined) return undefined;
    const load = (content: Buffer): T => {
      const value = parse(content.toString());
      for (const problem of value.problems) log.warn('a part of a file is of no use', { file, problem });
      return value;
    };
    const watch = await WatchedFiles.open({
      name: file.replaceAll('_', ' '),
      paths: [path],
      load,
      onReload: (result, error) => {
        reportReload({ metrics, log }, file, result, error);
        if (result === 'success') reloaded();
      },
    });
    files.push(watch);
    return watch;
  };
  const bundleOf = (pem: string): CertificateBundle => new CertificateBundle(pem);

  const clients = await watched('client_ca', settings.clientCaFile, bundleOf, onClientAuthorities);
  const proxies = await watched(
    'requestheader_client_ca',
    settings.requestheaderClientCaFile,
    bundleOf,
    onClientAuthorities,
  );
  const tokens = await watched('token_auth', settings.tokenAuthFile, parseTokenFile);
  const rules = await watched('authorization_rules', settings.authorizationRulesFile, parseRules);
  const { kubeconfig } = settings;
  const reviews = usesApiServer(settings)
    ? await orSettingsError('--kubeconfig', ApiReviews.open({ kubeconfig }))
    : undefined;
  const onAnswer = ({ kind, result }: { kind: string; result: string }): void => metrics.reviews.inc({ kind, result });

  const tokenAuthenticators: TokenAuthenticator[] = [];
  if (tokens !== undefined) tokenAuthenticators.push({ authenticate: token => tokens.value.lookup(token) });
  if (reviews !== undefined && settings.authenticationTokenWebhook) {
    const cacheTtlMs = settings.authenticationTokenWebhookCacheTtlMs;
    tokenAuthenticators.push(new TokenReviewer({ reviews, cacheTtlMs, onAnswer }));
  }
  const frontProxy =
    proxies &&
    new FrontProxy({
      bundle: () => proxies.value,
      allowedNames: settings.requestheaderAllowedNames ?? [],
      usernameHeaders: settings.requestheaderUsernameHeaders,
      groupHeaders: settings.requestheaderGroupHeaders,
      extraHeadersPrefix: settings.requestheaderExtraHeadersPrefix,
    });
  const subject = { resource: settings.authorizationResource, nodeName: settings.nodeName };

  const authorizer = (): Authorizer => {
    const { authorizationMode: mode } = settings;
    if (mode === 'AlwaysAllow' || (mode === undefined && isOpen(settings))) return ALWAYS_ALLOW;
    if (mode === 'Rules' && rules !== undefined) {
      return { decide: (caller, action) => rules.value.decide(caller, action) };
    }
    if (mode === 'Webhook' && reviews !== undefined) {
      return new WebhookAuthorizer({
        reviews,
        ...subject,
        cacheAuthorizedTtlMs: settings.authorizationWebhookCacheAuthorizedTtlMs,
        cacheUnauthorizedTtlMs: settings.authorizationWebhookCacheUnauthorizedTtlMs,
        onAnswer,
      });
    }
    throw new Error('nothing decides what callers may do'); // the settings do not allow that
  };
  const control = new AccessControl({
    authentication: isOpen(settings)
      ? OPEN
      : new Authentication({
          clients: clients && (() => clients.value),
          frontProxy,
          tokens: tokenAuthenticators,
          anonymous: settings.anonymousAuth,
        }),
    authorizer: authorizer(),
    ...subject,
    allowedOrigins: new Set(settings.allowedOrigins),
    loopback: isLoopback(settings.address),
  });
  return {
    control,
    clientAuthorities: () => [clients, proxies].flatMap(bundle => bundle?.value.pem ?? []),
    reload: async () => {
      await Promise.all(files.map(file => file.reloadNow()));
    },
    close: () => {
      for (const file of files) file.close();
      reviews?.close();
    },
  };
}

/** Says what came of reading a file again. */
export function reportReload(
  { metrics, log }: Pick<AccessOptions, 'metrics' | 'log'>,
  file: ReloadedFile,
  result: 'success' | 'failure',
  error?: Error,
): void {
  metrics.fileReloads.inc({ file, result });
  if (result === 'success') log.info('file reloaded', { file });
  else log.error('file cannot be used, what it held before goes on being used', { file, error: error?.message });
}
