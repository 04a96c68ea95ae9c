import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { CHECKOUT } from '../support/checkout.ts';
import { runCommand } from '../support/command.ts';

test('docs/conformance.md lists what the suite shows, and the suite shows every item', async () => {
  const script = join(CHECKOUT, 'scripts', 'conformance-table.ts');
  const { exitCode, stderr } = await runCommand(process.execPath, [script, '--check']);
  assert.equal(exitCode, 0, stderr);
});
