import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { z } from 'zod';
import { parseDuration } from '../../../src/config/duration.ts';
import { loadSettings } from '../../../src/config/load.ts';
import { SETTINGS, type Settings } from '../../../src/config/schema.ts';
import { CHECKOUT } from '../../support/checkout.ts';

const DEPLOY = join(CHECKOUT, 'deploy');
/** Telling the clients, and what the Engine needs for its answers. */
const MARGIN_MS = 10_000 + 30_000;

const unit = readFileSync(join(DEPLOY, 'execlet.service'), 'utf8');
const { execlet } = z
  .object({
    services: z.object({
      execlet: z.object({
        build: z.string(),
        command: z.array(z.string()),
        stop_grace_period: z.string(),
        volumes: z.array(z.string()),
      }),
    }),
  })
  .transform(({ services }) => services)
  .parse(parse(readFileSync(join(DEPLOY, 'compose.yaml'), 'utf8')));

/** Reads `--flag value` pairs, and the example where /etc/execlet/execlet.yaml is asked for. */
function settingsOf([command, ...args]: readonly string[]): Settings {
  assert.equal(command, 'serve');
  const flags: Record<string, string> = {};
  for (let at = 0; at < args.length; at += 2) {
    const setting = SETTINGS.find(({ flag }) => flag === args[at]);
    assert.ok(setting, `there is no flag ${args[at] ?? ''}`);
    flags[setting.flag.replace(/^--/, '').replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase())] =
      args[at + 1] ?? '';
  }
  const readFile = (path: string): string => {
    assert.equal(path, '/etc/execlet/execlet.yaml');
    return readFileSync(join(DEPLOY, 'execlet.yaml'), 'utf8');
  };
  return loadSettings({ flags, env: {}, readFile });
}

function assertPatience(ms: number | undefined, { drainTimeoutMs, killGracePeriodMs }: Settings): void {
  assert.ok((ms ?? 0) >= drainTimeoutMs + 2 * killGracePeriodMs + MARGIN_MS, `${ms ?? 'nothing'} ms are not enough`);
}

test('the unit runs a command line that is valid, and waits for its end', () => {
  const [, command = ''] = /^ExecStart=\/usr\/bin\/env execlet (.*)$/m.exec(unit) ?? [];
  const settings = settingsOf(command.split(' '));
  assertPatience(parseDuration(/^TimeoutStopSec=(.*)$/m.exec(unit)?.[1] ?? ''), settings);
  assert.match(unit, /^RestartPreventExitStatus=2$/m);
});

test('the compose file runs a command line that is valid, and waits for its end', () => {
  const settings = settingsOf(execlet.command);
  assert.deepEqual(settings.namingSchemes, ['compose', 'plain']);
  assertPatience(parseDuration(execlet.stop_grace_period), settings);
});

test('the compose file mounts what the daemon uses, and builds where the Dockerfile is', () => {
  const settings = settingsOf(execlet.command);
  const mounts = new Map(execlet.volumes.map(volume => [volume.split(':')[1], volume.split(':')[0]]));
  assert.equal(`unix://${mounts.get('/var/run/docker.sock') ?? ''}`, settings.dockerEndpoint.text);
  assert.ok(existsSync(join(DEPLOY, mounts.get('/etc/execlet/execlet.yaml') ?? '')));
  assert.ok(mounts.has(SETTINGS.find(({ flag }) => flag === '--cert-dir')?.default.replace(/\/pki$/, '')));
  assert.ok(existsSync(join(DEPLOY, execlet.build, 'Dockerfile')));
});
