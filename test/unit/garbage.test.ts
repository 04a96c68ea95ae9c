import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { CHECKOUT } from '../support/checkout.ts';
import { runCommand } from '../support/command.ts';

const MIB = 1024 * 1024;

/** Makes garbage of which some lives on for a while, as execs do, and prints how large the young generation has become. */
const SCRIPT = `
  const { getHeapSpaceStatistics } = require('node:v8');
  let alive = [];
  for (let made = 0; made < 2_000_000; made += 1) {
    alive.push({ made });
    if (alive.length > 20_000) alive = [];
  }
  console.log(getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space').space_size);
`;

async function youngBytes(...args: string[]): Promise<number> {
  const { exitCode, stdout, stderr } = await runCommand(process.execPath, [...args, '--eval', SCRIPT]);
  assert.deepEqual([exitCode, stderr], [0, '']); // a flag that V8 does not know is a warning there
  return Number(stdout.toString());
}

test('the young generation does not grow, as it would by itself', async () => {
  assert.ok((await youngBytes('--import', join(CHECKOUT, 'src', 'garbage.ts'))) <= 2 * MIB);
  assert.ok((await youngBytes()) > 2 * MIB);
});
