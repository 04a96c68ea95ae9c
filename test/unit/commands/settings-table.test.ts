import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { CHECKOUT } from '../../support/checkout.ts';
import { runCommand } from '../../support/command.ts';

test("the README's table of settings is what the schema says", async () => {
  const script = join(CHECKOUT, 'scripts', 'settings-table.ts');
  const { exitCode, stderr } = await runCommand(process.execPath, [script, '--check']);
  assert.equal(exitCode, 0, stderr);
});
