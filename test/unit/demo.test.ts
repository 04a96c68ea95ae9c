import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { CHECKOUT } from '../support/checkout.ts';
import { runCommand } from '../support/command.ts';
import { preloading } from './commands/execlet.ts';

test('the demo without an Engine, for a user who is not root, is one paragraph that says what to do', async () => {
  const { exitCode, stderr } = await runCommand(process.execPath, [join(CHECKOUT, 'scripts', 'demo.ts')], {
    env: {
      ...process.env,
      ...preloading('process.getuid = () => 1000'),
      EXECLET_TEST_DOCKER_HOST: '',
      DOCKER_HOST: 'unix:///nowhere/docker.sock',
    },
  });
  assert.equal(exitCode, 1);
  assert.match(
    stderr,
    /^A Docker Engine is needed, and none answers at unix:\/\/\/nowhere\/docker\.sock \(connect ENOENT [^\n]+\n$/,
  );
  assert.match(stderr, /DOCKER_HOST=unix:.* the group of its socket.* as root/i);
});
