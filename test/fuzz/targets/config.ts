import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseDuration } from '../../../src/config/duration.ts';
import { parseEndpoint } from '../../../src/config/endpoint.ts';
import { loadSettings } from '../../../src/config/load.ts';
import { SettingsError } from '../../../src/config/settings-error.ts';
import { outcomeOf, type FuzzTarget } from '../target.ts';

/** Any text is a duration or none, and a duration is the sum of its parts. */
export const duration: FuzzTarget = {
  name: 'duration',
  sources: ['config/duration.ts'],
  tokens: ['1', '0', '.', '90', 'h', 'm', 's', 'ms', 'us', 'µs', 'μs', 'ns', '1m30s', '-', '+', 'e', ' '],
  check: input => {
    const text = input.toString();
    const milliseconds = parseDuration(text);
    if (milliseconds === undefined) {
      assert.doesNotMatch(text, /^\d{1,9}(h|m|s|ms|us|ns)$/);
      return;
    }
    assert.ok(milliseconds >= 0);
    const parts = text.match(/[^a-zµμ]+[a-zµμ]+/g) ?? [];
    assert.equal(parts.join(''), text);
    assert.equal(
      milliseconds,
      parts.reduce((sum, part) => sum + (parseDuration(part) ?? assert.fail(part)), 0),
    );
    for (const part of parts) assert.match(part, /^[\d.]*\d[\d.]*\D+$/);
  },
};

/** Any text is an endpoint that a socket can be opened to, or none. */
export const endpoint: FuzzTarget = {
  name: 'endpoint',
  sources: ['config/endpoint.ts'],
  tokens: [
    'unix://',
    'tcp://',
    'http://',
    'https://',
    '/',
    '/var/run/docker.sock',
    '127.0.0.1',
    '[::1]',
    ':2375',
    ':0',
    ':',
    '@',
    '?',
    '#',
    '\0',
    '%',
  ],
  nearlyRight: fc
    .tuple(
      fc.constantFrom('tcp', 'http', 'https', 'unix'),
      fc.constantFrom('h', '[::1]', '', '/x'),
      fc.constantFrom(0, 1, 80, 70_000),
    )
    .map(([scheme, host, port]) => `${scheme}://${host}:${port}`),
  check: input => {
    const text = input.toString();
    const parsed = parseEndpoint(text);
    if (parsed === undefined) {
      assert.doesNotMatch(text, /^(unix:\/\/\/[a-z]+|tcp:\/\/[a-z]+(:[1-9]\d{0,3})?)$/);
      return;
    }
    assert.equal(parsed.text, text);
    if ('socketPath' in parsed) {
      assert.equal(`unix://${parsed.socketPath}`, text);
      assert.match(parsed.socketPath, /^\/[^\0]*[^\0/]$/);
      return;
    }
    assert.equal(parsed.protocol, text.startsWith('https:') ? 'https' : 'http');
    assert.ok(Number.isInteger(parsed.port) && parsed.port >= 1 && parsed.port <= 65_535);
    const written = /:0*(\d+)\/?$/.exec(text)?.[1];
    if (written !== undefined && !text.endsWith(']')) assert.equal(parsed.port, Number(written));
    assert.match(parsed.host, /^[^\s/?#@[\]]+$/);
  },
};

const KEYS = ['port', 'address', 'namingSchemes', 'engineTimeout', 'logLevel', 'nodeName', 'dockerEndpoint'];

/** Whatever the file holds, the answer is settings or a SettingsError of one line. */
export const settings: FuzzTarget = {
  name: 'settings',
  sources: ['config/load.ts', 'config/schema.ts'],
  tokens: [
    ...KEYS.map(key => `${key}: `),
    '127.0.0.1',
    '10350',
    '1m',
    '[kubernetes]',
    '\n',
    '- ',
    '[',
    '}',
    '&a ',
    '*a',
    '!!x ',
    '"',
    '---\n',
    '? ',
  ],
  nearlyRight: fc
    .dictionary(fc.constantFrom(...KEYS), fc.oneof(fc.string(), fc.jsonValue({ maxDepth: 1 })))
    .map(values => JSON.stringify(values)),
  check: input => {
    const sources = { flags: { config: '/execlet.yaml' }, env: {}, readFile: () => input.toString() };
    const loaded = outcomeOf(() => loadSettings(sources), SettingsError);
    if ('error' in loaded) {
      assert.doesNotMatch(loaded.error.message, /\n/);
      return;
    }
    assert.doesNotMatch(input.toString().trim(), /^(?!null$)[a-z0-9]+$/i, 'one word sets nothing');
    assert.ok(loaded.value.engineTimeoutMs >= 1 && loaded.value.namingSchemes.length > 0);
  },
};
