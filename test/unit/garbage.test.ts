import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { CHECKOUT } from '../support/checkout.ts';
import { runCommand } from '../support/command.ts';

const MIB = 1024 * 1024;
const GARBAGE = join(CHECKOUT, 'src', 'garbage.ts');

/** Makes garbage of which some lives on for a while, as execs do, and prints how large the young generation has become. */
const MANY_OBJECTS = `
  const { getHeapSpaceStatistics } = require('node:v8');
  let alive = [];
  for (let made = 0; made < 2_000_000; made += 1) {
    alive.push({ made });
    if (alive.length > 20_000) alive = [];
  }
  console.log(getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space').space_size);
`;

/** Makes 256 MiB of chunks as they come from a socket, and prints how much of them there was at most. */
const manyChunks = (passed: string): string => `
  const { chunkPassed } = require(${JSON.stringify(GARBAGE)});
  let most = 0;
  for (let made = 0; made < 4096; made += 1) {
    const chunk = Buffer.from(new ArrayBuffer(64 * 1024));
    ${passed};
    most = Math.max(most, process.memoryUsage().arrayBuffers);
  }
  console.log(most);
`;

async function numberFrom(script: string, ...args: string[]): Promise<number> {
  const { exitCode, stdout, stderr } = await runCommand(process.execPath, [...args, '--eval', script]);
  assert.deepEqual([exitCode, stderr], [0, '']); // a flag that V8 does not know is a warning there
  return Number(stdout.toString());
}

test('the young generation does not grow, as it would by itself', async () => {
  assert.ok((await numberFrom(MANY_OBJECTS, '--import', GARBAGE)) <= 2 * MIB);
  assert.ok((await numberFrom(MANY_OBJECTS)) > 2 * MIB);
});

test('chunks that were passed on are freed long before V8 would do it by itself', async () => {
  assert.ok((await numberFrom(manyChunks('chunkPassed(chunk.length)'))) <= 24 * MIB);
  assert.ok((await numberFrom(manyChunks(''))) > 48 * MIB);
});
