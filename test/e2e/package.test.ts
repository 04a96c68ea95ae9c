import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { before, test } from 'node:test';
import { CHECKOUT } from '../support/checkout.ts';
import { temporaryDirectory } from '../support/cleanup.ts';
import { mustRun, runCommand } from '../support/command.ts';

/** The last of a line that is too old, and that many machines have. */
const OLD_NODE = '20.20.2';

// The package as users get it: packed, and installed into an empty directory.
const { path: directory } = await temporaryDirectory('package');
const env = { ...process.env, PATH: [dirname(process.execPath), process.env.PATH].join(delimiter) };

before(async () => {
  await mustRun('npm', ['pack', '--silent', '--pack-destination', directory], { cwd: CHECKOUT, env });
  const [tarball = ''] = await readdir(directory);
  const install = ['install', '--silent', '--ignore-scripts', '--prefix', directory, join(directory, tarball)];
  await mustRun('npm', install, { cwd: directory, env, timeoutMs: 300_000 });
});

test('npx execlet runs, and serves until it is told to stop', async () => {
  const version = await mustRun('npx', ['execlet', 'version'], { cwd: directory, env });
  assert.match(version, /^execlet \d+\.\d+\.\d+\nNode v\d+/);
  const help = await mustRun('npx', ['execlet', 'serve', '--help'], { cwd: directory, env });
  assert.match(help, /--docker-endpoint/);
  const serve =
    'timeout --preserve-status --signal TERM 2 node_modules/.bin/execlet serve --port 0 --docker-endpoint unix:///nonexistent';
  const { exitCode, stdout } = await runCommand('sh', ['-c', serve], { cwd: directory, env });
  assert.equal(exitCode, 0);
  assert.match(stdout.toString(), /^\{"event":"ready","address":"127\.0\.0\.1","port":\d+\}\n$/);
});

test('on an older Node it says so in one line, and ends with 2', async () => {
  const { path: old } = await temporaryDirectory('old-node');
  const package_ = `node-${process.platform}-${process.arch}`;
  const install = ['install', '--silent', '--ignore-scripts', '--prefix', old, `${package_}@${OLD_NODE}`];
  await mustRun('npm', install, { cwd: old, env, timeoutMs: 300_000 });
  const bin = join(directory, 'node_modules', 'execlet', 'dist', 'bin.js');
  const node = join(old, 'node_modules', package_, 'bin', 'node');
  const { exitCode, stdout, stderr } = await runCommand(node, [bin, 'serve'], { cwd: directory, env });
  const result = { exitCode, stdout: stdout.toString(), stderr };
  const line = `execlet: needs Node 24 or newer, and this is v${OLD_NODE}\n`;
  assert.deepEqual(result, { exitCode: 2, stdout: '', stderr: line });
});

test('what is deployed is in the package; the tests, and what was compiled for this host, are not', async () => {
  const installed = await readdir(join(directory, 'node_modules', 'execlet'));
  assert.deepEqual(installed.sort(), ['CHANGELOG.md', 'LICENSE', 'README.md', 'deploy', 'dist', 'package.json']);
  const built = await readdir(join(directory, 'node_modules', 'execlet', 'dist'));
  // Compose would build the image, from what is not here.
  const deployed = await readdir(join(directory, 'node_modules', 'execlet', 'deploy'));
  assert.ok(deployed.includes('execlet.service') && !deployed.includes('compose.yaml'), deployed.join(' '));
  assert.ok(built.includes('bin.js') && !built.includes('compiled'), built.join(' '));
});
