import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadSettings } from '../../../src/config/load.ts';
import { SETTINGS, type Settings } from '../../../src/config/schema.ts';
import { SettingsError } from '../../../src/config/settings-error.ts';
import { CHECKOUT } from '../../support/checkout.ts';
import { makeServerCertificate } from '../../support/certificates.ts';

const { cert: CERTIFICATE, key: PRIVATE_KEY } = await makeServerCertificate();
const { key: OTHER_KEY } = await makeServerCertificate();

/** The text of every file that a setting may name. */
const FILES = {
  'cert.pem': CERTIFICATE,
  'key.pem': PRIVATE_KEY,
  'ca.pem': CERTIFICATE,
  'proxy-ca.pem': CERTIFICATE,
  'tokens.csv': 'token-1,alice,1\n',
  'rules.yaml': 'rules:\n  - users: [alice]\n    verbs: [exec]\n',
};

interface Sources {
  readonly flags?: Readonly<Record<string, string | readonly string[]>>;
  readonly env?: { readonly DOCKER_HOST?: string };
  readonly files?: Readonly<Record<string, string>>;
}

function load({ flags = {}, env = {}, files = {} }: Sources): Settings {
  return loadSettings({
    flags,
    env,
    readFile: path => {
      const text = files[path];
      if (text === undefined) throw new Error(`ENOENT: no such file or directory, open '${path}'`);
      return text;
    },
  });
}

/** The message of the SettingsError that the sources cause; always one line. */
function problemOf(sources: Sources): string {
  try {
    load(sources);
  } catch (cause) {
    assert.ok(cause instanceof SettingsError, String(cause));
    assert.doesNotMatch(cause.message, /[\r\n]/);
    return cause.message;
  }
  assert.fail('no SettingsError');
}

const withFile = (text: string): Sources => ({ flags: { config: 'f.yaml' }, files: { 'f.yaml': text } });

test('without flags, file and environment the defaults hold', () => {
  assert.deepEqual(load({}), {
    address: '127.0.0.1',
    port: 10_350,
    dockerEndpoint: { text: 'unix:///var/run/docker.sock', socketPath: '/var/run/docker.sock' },
    nodeName: hostname().toLowerCase(),
    namingSchemes: ['kubernetes'],
    streamCreationTimeoutMs: 30_000,
    engineTimeoutMs: 10_000,
    outputDrainQuietMs: 2_000,
    outputDrainLimitMs: 30_000,
    keepaliveIntervalMs: 20_000,
    streamingConnectionIdleTimeoutMs: 14_400_000,
    maxSessionDurationMs: undefined,
    onDisconnect: 'terminate',
    killGracePeriodMs: 10_000,
    maxSessions: 1_024,
    maxSessionsPerContainer: 64,
    maxConnections: 4_096,
    drainTimeoutMs: 30_000,
    logLevel: 'info',
    logFormat: 'json',
    tlsMinVersion: 'TLSv1.2',
    requestheaderUsernameHeaders: ['X-Remote-User'],
    requestheaderGroupHeaders: ['X-Remote-Group'],
    requestheaderExtraHeadersPrefix: 'X-Remote-Extra-',
    authenticationTokenWebhook: false,
    authenticationTokenWebhookCacheTtlMs: 120_000,
    anonymousAuth: false,
    authorizationWebhookCacheAuthorizedTtlMs: 300_000,
    authorizationWebhookCacheUnauthorizedTtlMs: 30_000,
    authorizationResource: 'pods/exec',
    sessionLogFailure: 'continue',
  });
});

test('every setting can be given by flag', () => {
  const flags = {
    address: '::1',
    port: '0',
    dockerEndpoint: 'tcp://127.0.0.1:2375',
    nodeName: 'node-1',
    namingSchemes: 'compose, plain',
    streamCreationTimeout: '1m30s',
    engineTimeout: '500ms',
    outputDrainQuiet: '1s',
    outputDrainLimit: '5s',
    keepaliveInterval: '5s',
    streamingConnectionIdleTimeout: '1h',
    maxSessionDuration: '12h',
    onDisconnect: 'keep',
    killGracePeriod: '2s',
    maxSessions: '10',
    maxSessionsPerContainer: '5',
    maxSessionsPerCaller: '3',
    maxSessionRatePerContainer: '0.5',
    maxConnections: '100',
    drainTimeout: '1m',
    metricsBindAddress: '[::1]:9250',
    logLevel: 'debug',
    logFormat: 'text',
    tlsCertFile: 'cert.pem',
    tlsPrivateKeyFile: 'key.pem',
    certDir: '/pki',
    tlsMinVersion: 'VersionTLS13',
    tlsCipherSuites: 'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_AES_128_GCM_SHA256',
    clientCaFile: 'ca.pem',
    requestheaderClientCaFile: 'proxy-ca.pem',
    requestheaderAllowedNames: 'front-proxy, other',
    requestheaderUsernameHeaders: 'X-User, X-Remote-User',
    requestheaderGroupHeaders: 'X-Group',
    requestheaderExtraHeadersPrefix: 'X-Extra-',
    tokenAuthFile: 'tokens.csv',
    authenticationTokenWebhook: 'true',
    authenticationTokenWebhookCacheTtl: '1m',
    kubeconfig: 'kubeconfig.yaml',
    anonymousAuth: 'true',
    authorizationMode: 'Rules',
    authorizationWebhookCacheAuthorizedTtl: '2m',
    authorizationWebhookCacheUnauthorizedTtl: '10s',
    authorizationRulesFile: 'rules.yaml',
    authorizationResource: 'pods/exec',
    allowedOrigins: 'https://a.example, http://b.example:8080',
    sessionLog: '/var/log/execlet/sessions.log',
    sessionLogFailure: 'refuse',
    sessionLogRedact: ['--password \\S+', 'a,b'],
  };
  assert.deepEqual(
    Object.keys(flags),
    SETTINGS.map(({ key }) => key).filter(key => key !== undefined),
  );
  assert.deepEqual(load({ flags, files: FILES }), {
    address: '::1',
    port: 0,
    dockerEndpoint: { text: 'tcp://127.0.0.1:2375', protocol: 'http', host: '127.0.0.1', port: 2375 },
    nodeName: 'node-1',
    namingSchemes: ['compose', 'plain'],
    streamCreationTimeoutMs: 90_000,
    engineTimeoutMs: 500,
    outputDrainQuietMs: 1_000,
    outputDrainLimitMs: 5_000,
    keepaliveIntervalMs: 5_000,
    streamingConnectionIdleTimeoutMs: 3_600_000,
    maxSessionDurationMs: 43_200_000,
    onDisconnect: 'keep',
    killGracePeriodMs: 2_000,
    maxSessions: 10,
    maxSessionsPerContainer: 5,
    maxSessionsPerCaller: 3,
    maxSessionRatePerContainer: 0.5,
    maxConnections: 100,
    drainTimeoutMs: 60_000,
    metricsBindAddress: { host: '::1', port: 9_250 },
    logLevel: 'debug',
    logFormat: 'text',
    tlsCertFile: 'cert.pem',
    tlsPrivateKeyFile: 'key.pem',
    certDir: '/pki',
    tlsMinVersion: 'TLSv1.3',
    tlsCipherSuites: 'TLS_AES_128_GCM_SHA256:ECDHE-RSA-AES128-GCM-SHA256',
    clientCaFile: 'ca.pem',
    requestheaderClientCaFile: 'proxy-ca.pem',
    requestheaderAllowedNames: ['front-proxy', 'other'],
    requestheaderUsernameHeaders: ['X-User', 'X-Remote-User'],
    requestheaderGroupHeaders: ['X-Group'],
    requestheaderExtraHeadersPrefix: 'X-Extra-',
    tokenAuthFile: 'tokens.csv',
    authenticationTokenWebhook: true,
    authenticationTokenWebhookCacheTtlMs: 60_000,
    kubeconfig: 'kubeconfig.yaml',
    anonymousAuth: true,
    authorizationMode: 'Rules',
    authorizationWebhookCacheAuthorizedTtlMs: 120_000,
    authorizationWebhookCacheUnauthorizedTtlMs: 10_000,
    authorizationRulesFile: 'rules.yaml',
    authorizationResource: 'pods/exec',
    allowedOrigins: ['https://a.example', 'http://b.example:8080'],
    sessionLog: '/var/log/execlet/sessions.log',
    sessionLogFailure: 'refuse',
    sessionLogRedact: [/--password \S+/g, /a,b/g],
  });
});

test('flags win over the file, the file over DOCKER_HOST, and that over the default', () => {
  const env = { DOCKER_HOST: 'tcp://env:1' };
  const files = { f: 'dockerEndpoint: tcp://file:1\nport: 1\nlogLevel: warn\n' };
  const flags = { config: 'f', dockerEndpoint: 'tcp://flag:1', port: '2' };
  assert.equal(load({ env }).dockerEndpoint.text, 'tcp://env:1');
  assert.equal(load({ env, files, flags: { config: 'f' } }).dockerEndpoint.text, 'tcp://file:1');
  const { dockerEndpoint, port, logLevel } = load({ env, files, flags });
  assert.deepEqual([dockerEndpoint.text, port, logLevel], ['tcp://flag:1', 2, 'warn']);
});

test('the file may write a list and a number as YAML does, and may hold nothing but comments', () => {
  assert.deepEqual(load(withFile('namingSchemes: [plain, kubernetes]')).namingSchemes, ['plain', 'kubernetes']);
  assert.equal(load(withFile('port: 8080')).port, 8080);
  assert.equal(load(withFile('port: "8080"')).port, 8080);
  assert.equal(load(withFile('# nothing\n')).port, 10_350);
});

test('a bad value is named with its flag, or with its file and key', () => {
  const bad: [key: string, value: string, problem: RegExp][] = [
    ['port', '65536', /must be a port number from 0 to 65535, not "65536"$/],
    ['port', '-1', /port number/],
    ['port', '1e3', /port number/],
    ['port', '', /port number/],
    ['address', 'example.org', /must be an IP address or localhost, not "example.org"$/],
    ['dockerEndpoint', 'docker.sock', /must be unix:\/\/\/PATH, .*, not "docker.sock"$/],
    ['nodeName', 'my node', /must be a name without spaces, not "my node"$/],
    ['nodeName', '', /name without spaces/],
    ['namingSchemes', 'docker', /must be a list of kubernetes, compose, plain, each at most once, not "docker"$/],
    ['namingSchemes', 'plain,plain', /each at most once/],
    ['namingSchemes', 'plain,', /each at most once/],
    ['namingSchemes', '', /each at most once/],
    ['streamCreationTimeout', '30', /must be a duration from 1ms to 596h, written as 1m30s, not "30"$/],
    ['engineTimeout', '0s', /duration from 1ms/],
    ['maxSessions', '0', /must be a whole number from 1 to 1000000, not "0"$/],
    ['maxSessionsPerCaller', '1.5', /whole number/],
    ['maxSessionRatePerContainer', '0', /must be a number per second, from 0.01 to 1000, not "0"$/],
    ['onDisconnect', 'kill', /must be one of terminate, keep, not "kill"$/],
    ['metricsBindAddress', ':9250', /must be HOST:PORT, with an IP address or localhost as HOST .*, not ":9250"$/],
    ['engineTimeout', '597h', /to 596h/],
    ['outputDrainQuiet', '2', /duration from 1ms/],
    ['outputDrainLimit', 'never', /duration from 1ms/],
    ['logLevel', 'INFO', /must be one of error, warn, info, debug, not "INFO"$/],
    ['logFormat', 'xml', /must be one of json, text, not "xml"$/],
    ['tlsCertFile', '', /must be the path of a file, not ""$/],
    ['certDir', '', /must be the path of a directory, not ""$/],
    ['tlsMinVersion', '1.2', /must be one of VersionTLS12, VersionTLS13, not "1.2"$/],
    ['tlsCipherSuites', 'TLS_RSA_WITH_RC4_128_SHA', /: TLS_RSA_WITH_RC4_128_SHA is insecure$/],
    ['tlsCipherSuites', 'AES128', /"AES128" is no cipher suite that execlet knows$/],
    ['requestheaderAllowedNames', '', /must be a list of names, not ""$/],
    ['requestheaderUsernameHeaders', 'X User', /must be a list of header names, not "X User"$/],
    ['requestheaderGroupHeaders', 'a,,b', /header names/],
    ['requestheaderExtraHeadersPrefix', 'X:', /must be the beginning of a header name, not "X:"$/],
    ['authenticationTokenWebhook', 'yes', /must be true or false, not "yes"$/],
    ['authenticationTokenWebhookCacheTtl', '-1s', /duration from 1ms/],
    ['anonymousAuth', '1', /must be true or false/],
    ['authorizationMode', 'RBAC', /must be one of Webhook, Rules, AlwaysAllow, not "RBAC"$/],
    ['authorizationWebhookCacheAuthorizedTtl', '5', /duration from 1ms/],
    ['authorizationWebhookCacheUnauthorizedTtl', '5', /duration from 1ms/],
    ['authorizationResource', 'pods', /must be one of pods\/exec, nodes\/proxy, not "pods"$/],
    ['allowedOrigins', '*', /must be a list of origins, .*, not "\*"$/],
    ['allowedOrigins', 'https://a.example/', /list of origins/],
    ['sessionLog', '', /must be the path of a file/],
    ['sessionLogFailure', 'ignore', /must be one of continue, refuse, not "ignore"$/],
    [
      'sessionLogRedact',
      '(s3cret',
      /must be regular expressions, and one is not a regular expression: Unterminated group$/,
    ],
    ['sessionLogRedact', '', /must be regular expressions, and one is an empty pattern/],
  ];
  for (const [key, value, problem] of bad) {
    const flag = SETTINGS.find(setting => setting.key === key)?.flag ?? '';
    const byFlag = problemOf({ flags: { [key]: value } });
    assert.ok(byFlag.startsWith(`${flag}: `), byFlag);
    assert.match(byFlag, problem);
    const inFile = problemOf(withFile(`${key}: ${JSON.stringify(value)}`));
    assert.ok(inFile.startsWith(`f.yaml: ${key}: `), inFile);
    assert.match(inFile, problem);
  }
});

test('values of the wrong kind in the file are named too', () => {
  for (const line of [
    'port: 1.5',
    'port: null',
    'port:',
    'port: [1]',
    'engineTimeout: 10',
    'nodeName: 5',
    'address: {}',
  ]) {
    const problem = problemOf(withFile(line));
    assert.ok(problem.startsWith(`f.yaml: ${line.slice(0, line.indexOf(':'))}: must be `), problem);
  }
});

test('a malformed DOCKER_HOST is named as such', () => {
  assert.match(problemOf({ env: { DOCKER_HOST: 'ssh://host' } }), /^DOCKER_HOST: must be unix:.*, not "ssh:\/\/host"$/);
});

test('an address that is not loopback needs a way to know callers, and to decide about them', () => {
  for (const address of ['127.0.0.1', '127.255.3.4', '::1', 'localhost']) {
    assert.equal(load({ flags: { address } }).address, address);
  }
  for (const address of ['0.0.0.0', '::', '10.0.0.1', '128.0.0.1', '::ffff:10.0.0.1', 'fe80::1']) {
    const wanted = `${address} is not a loopback address, and needs a way to authenticate callers`;
    assert.ok(problemOf({ flags: { address } }).startsWith(`--address: ${wanted}: --client-ca-file`));
    assert.ok(problemOf(withFile(`address: "${address}"`)).startsWith(`f.yaml: address: ${wanted}`));
    const anonymous = { address, anonymousAuth: 'true', authorizationMode: 'AlwaysAllow' };
    assert.ok(problemOf({ flags: anonymous }).startsWith('--address: '), 'being anonymous proves nothing');
    const known = { address, tokenAuthFile: 'tokens.csv' };
    assert.match(problemOf({ flags: known, files: FILES }), /^--authorization-mode: must be said/);
    assert.equal(load({ flags: { ...known, authorizationMode: 'AlwaysAllow' }, files: FILES }).address, address);
  }
});

test('settings of access that need one another are named', () => {
  const cases: [given: Readonly<Record<string, string>>, problem: RegExp][] = [
    [{ tokenAuthFile: 'tokens.csv' }, /^--authorization-mode: must be said where callers are authenticated/],
    [{ anonymousAuth: 'true' }, /^--authorization-mode: must be said/],
    [{ authorizationMode: 'AlwaysAllow' }, /^--authorization-mode: needs a way to authenticate callers/],
    [
      { requestheaderClientCaFile: 'ca.pem', authorizationMode: 'AlwaysAllow' },
      /^--requestheader-client-ca-file: needs --requestheader-allowed-names/,
    ],
    [{ requestheaderAllowedNames: 'a' }, /^--requestheader-allowed-names: needs --requestheader-client-ca-file too$/],
    [
      { anonymousAuth: 'true', authorizationMode: 'Rules' },
      /^--authorization-mode: Rules needs --authorization-rules-file too$/,
    ],
    [
      { anonymousAuth: 'true', authorizationMode: 'AlwaysAllow', authorizationRulesFile: 'rules.yaml' },
      /^--authorization-rules-file: needs --authorization-mode=Rules too$/,
    ],
    [
      { anonymousAuth: 'true', authorizationMode: 'AlwaysAllow', authorizationResource: 'nodes/proxy' },
      /^--authorization-resource: needs --authorization-mode=Webhook too$/,
    ],
    [
      { address: '::', tokenAuthFile: 'tokens.csv', anonymousAuth: 'true', authorizationMode: 'AlwaysAllow' },
      /^--anonymous-auth: with --authorization-mode=AlwaysAllow everybody who reaches :: could run commands/,
    ],
    [
      { kubeconfig: 'kubeconfig.yaml' },
      /^--kubeconfig: needs --authentication-token-webhook or --authorization-mode=Webhook too$/,
    ],
  ];
  for (const [flags, problem] of cases) assert.match(problemOf({ flags, files: FILES }), problem);
});

test('files of access must be there and make sense, and what they hold is not repeated', () => {
  const problem = (key: string, text: string | undefined): string =>
    problemOf({
      flags: {
        authorizationMode: 'AlwaysAllow',
        requestheaderAllowedNames: 'a',
        requestheaderClientCaFile: 'ca.pem',
        [key]: 'x',
      },
      files: { ...FILES, ...(text !== undefined && { x: text }) },
    });
  for (const [key, flag, text, expected] of [
    ['clientCaFile', '--client-ca-file', 's3cret', 'x: holds no certificate in PEM'],
    ['requestheaderClientCaFile', '--requestheader-client-ca-file', 's3cret', 'x: holds no certificate in PEM'],
    ['tokenAuthFile', '--token-auth-file', 's3cret,alice', 'x: line 1'],
  ] as const) {
    assert.ok(problem(key, undefined).startsWith(`${flag}: cannot read x (ENOENT`), key);
    const wrong = problem(key, text);
    assert.ok(wrong.startsWith(`${flag}: ${expected}`), wrong);
    assert.doesNotMatch(wrong, /s3cret/);
  }
  const rules = { anonymousAuth: 'true', authorizationMode: 'Rules', authorizationRulesFile: 'x' };
  assert.match(problemOf({ flags: rules, files: { x: 'rules: [{}]' } }), /^--authorization-rules-file: x: rules\[0\]/);
});

test('keys that are no settings are named with the file, flags in kebab-case and config itself too', () => {
  for (const key of ['prot', 'docker-endpoint', 'engineTimeoutMs', 'config', 'toString']) {
    assert.equal(problemOf(withFile(`${key}: x`)), `f.yaml: ${key}: there is no such setting`);
  }
});

test('a file that cannot be read, or is no mapping in YAML, is named', () => {
  assert.match(problemOf({ flags: { config: 'f.yaml' } }), /^--config: cannot read f\.yaml \(ENOENT: no such file/);
  assert.match(problemOf({ flags: { config: '' } }), /^--config: cannot read {2}\(/);
  assert.match(problemOf(withFile('a: [')), /^f\.yaml: not valid YAML: .* line 1/);
  assert.match(problemOf(withFile('port: 1\nport: 2\n')), /^f\.yaml: not valid YAML: .*unique.* line 2/);
  assert.equal(problemOf(withFile('port: 1\n---\nport: 2\n')), 'f.yaml: holds more than one YAML document');
  for (const text of ['- port', 'port', '7'])
    assert.match(problemOf(withFile(text)), /^f\.yaml: must hold settings as/);
});

test('TLS needs both files, readable, in PEM, and belonging together', () => {
  const files = { 'cert.pem': CERTIFICATE, 'key.pem': PRIVATE_KEY, 'other.pem': OTHER_KEY, 'text.pem': 'no PEM' };
  const problem = (tlsCertFile?: string, tlsPrivateKeyFile?: string): string =>
    problemOf({
      files,
      flags: { ...(tlsCertFile && { tlsCertFile }), ...(tlsPrivateKeyFile && { tlsPrivateKeyFile }) },
    });
  assert.equal(problem('cert.pem'), '--tls-cert-file: needs --tls-private-key-file too');
  assert.equal(problem(undefined, 'key.pem'), '--tls-private-key-file: needs --tls-cert-file too');
  assert.match(problem('gone.pem', 'key.pem'), /^--tls-cert-file: cannot read gone\.pem \(ENOENT/);
  assert.match(problem('cert.pem', 'gone.pem'), /^--tls-private-key-file: cannot read gone\.pem \(ENOENT/);
  assert.match(problem('text.pem', 'key.pem'), /^--tls-cert-file: text\.pem holds no certificate/);
  assert.match(problem('cert.pem', 'text.pem'), /^--tls-private-key-file: text\.pem holds no private key/);
  assert.match(problem('cert.pem', 'other.pem'), /^--tls-private-key-file: other\.pem is not the key of cert\.pem/);
});

test('the example in deploy/ holds every setting and loads', () => {
  const text = readFileSync(join(CHECKOUT, 'deploy', 'execlet.yaml'), 'utf8');
  load(withFile(text));
  for (const { key } of SETTINGS) if (key !== undefined) assert.match(text, new RegExp(`^(# ?)?${key}: `, 'm'));
});
