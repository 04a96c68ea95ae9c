import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { z } from 'zod';
import { KINDS, PROTOCOLS, protocolTitle } from '../../scripts/soak/session-plan.ts';
import { CHECKOUT } from '../support/checkout.ts';
import { runCommand, type CommandResult } from '../support/command.ts';

const MINUTES = '0.4';
/** Every kind and every protocol is among its first 16 sessions, so that a slow machine meets them all too. */
const SEED = '2648';
const FEWEST_SESSIONS = 40;

const findings = z.object({
  sessions: z.int(),
  byKind: z.record(z.string(), z.int()),
  byProtocol: z.record(z.string(), z.int()),
  bytesRelayed: z.int(),
  mismatches: z.int(),
  slopes: z.object({ rssKib: z.number(), fds: z.number(), sockets: z.number(), timers: z.number() }),
  leftBehind: z.record(z.string(), z.int()),
  failures: z.array(z.string()),
});

function soak(...args: string[]): Promise<CommandResult> {
  return runCommand(process.execPath, [join(CHECKOUT, 'scripts', 'soak.ts'), ...args], { timeoutMs: 240_000 });
}

test('a short soak: every kind of session over every protocol is right, and nothing is left behind', async () => {
  const { exitCode, stdout, stderr } = await soak(MINUTES, '--seed', SEED, '--json');
  const found = findings.parse(JSON.parse(stdout.toString()));
  assert.equal(found.mismatches, 0, stderr);
  for (const [what, count] of Object.entries(found.leftBehind)) assert.ok(count <= 0, `${what} left behind\n${stderr}`);
  assert.deepEqual(Object.keys(found.byKind).sort(), [...KINDS].sort());
  assert.deepEqual(Object.keys(found.byProtocol).sort(), PROTOCOLS.map(protocolTitle).sort());
  assert.ok(found.sessions > FEWEST_SESSIONS, `only ${found.sessions} sessions`);
  assert.ok(found.bytesRelayed > 1_000_000, `only ${found.bytesRelayed} bytes`);
  assert.deepEqual([exitCode, found.failures], [0, []], stderr);
});

test('a wrong argument is one line and exit code 2', async () => {
  for (const args of [['soon'], ['0'], ['1', '2'], ['1', '--seed', 'x'], ['1', '--concurrency', '0'], ['--nothing']]) {
    const { exitCode, stdout, stderr } = await soak(...args);
    assert.deepEqual([exitCode, stdout.length], [2, 0], args.join(' '));
    assert.match(stderr, /^soak: [^\n]+\n$/);
  }
});
