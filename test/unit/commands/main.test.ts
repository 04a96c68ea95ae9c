import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { SETTINGS } from '../../../src/config/schema.ts';
import { VERSION } from '../../../src/version.ts';
import { execlet, preloading } from './execlet.ts';

test('--help lists every command, --version prints the version alone', async () => {
  const [help, version] = await Promise.all([execlet(['--help']), execlet(['--version'])]);
  assert.equal(help.exitCode, 0);
  for (const command of ['serve', 'exec', 'pods', 'kubeconfig', 'health', 'doctor', 'version'])
    assert.match(help.stdout, new RegExp(`^  ${command} `, 'm'));
  assert.deepEqual(version, { exitCode: 0, stdout: `${VERSION}\n`, stderr: '' });
});

test('serve --help lists every setting with its default', async () => {
  const { exitCode, stdout } = await execlet(['serve', '--help']);
  assert.equal(exitCode, 0);
  const text = stdout.replaceAll(/\s+/g, ' '); // commander wraps lines
  for (const { flag, placeholder, help, default: byDefault, isSwitch } of SETTINGS) {
    const value = isSwitch ? `[${placeholder}]` : `<${placeholder}>`;
    assert.ok(text.includes(`${flag} ${value} ${help} (default: ${byDefault})`), flag);
  }
});

test('without a command the help goes to stderr, and the exit code is 2', async () => {
  const { exitCode, stdout, stderr } = await execlet([]);
  assert.equal(exitCode, 2);
  assert.equal(stdout, '');
  assert.match(stderr, /^Usage: execlet /);
});

test('a command line that cannot be meant is one line that names it, and exit code 2', async () => {
  const wrong: [args: string[], line: string][] = [
    [['sevre'], "execlet: unknown command 'sevre' (Did you mean serve?)\n"],
    [['--verbose'], "execlet: unknown option '--verbose'\n"],
    [['serve', '--prot', '1'], "execlet: unknown option '--prot' (Did you mean --port?)\n"],
    [['serve', '--port'], "execlet: option '--port <PORT>' argument missing\n"],
    [['serve', 'now'], "execlet: too many arguments for 'serve'. Expected 0 arguments but got 1: now.\n"],
    [['exec'], "execlet: missing required argument 'pod'\n"],
  ];
  for (const [args, line] of wrong) {
    assert.deepEqual(await execlet(args), { exitCode: 2, stdout: '', stderr: line }, args.join(' '));
  }
});

test('a setting that cannot be meant is one line that names it, and exit code 2', async context => {
  const directory = await mkdtemp(join(tmpdir(), 'execlet-'));
  context.after(() => rm(directory, { recursive: true }));
  const file = join(directory, 'execlet.yaml');
  await writeFile(file, 'prot: 1\n');
  const wrong: [args: string[], line: RegExp][] = [
    [['--config', file], new RegExp(`^execlet: ${file}: prot: there is no such setting\n$`)],
    [['--config', directory], new RegExp(`^execlet: --config: cannot read ${directory} \\(EISDIR: [^\n]*\n$`)],
    [['--config', join(directory, 'none')], /^execlet: --config: cannot read [^\n]* \(ENOENT: [^\n]*\n$/],
    [['--address', '0.0.0.0'], /^execlet: --address: 0\.0\.0\.0 is not a loopback address[^\n]*\n$/],
    [['--node-name', 'two\nlines'], /^execlet: --node-name: must be [^\n]*\n$/],
  ];
  for (const [args, line] of wrong) {
    const { exitCode, stdout, stderr } = await execlet(['serve', ...args]);
    assert.match(stderr, line);
    assert.equal(exitCode, 2);
    assert.equal(stdout, '');
  }
});

test('exec loads no Docker client, help no daemon', async () => {
  const env = preloading(`
    import { registerHooks } from 'node:module';
    registerHooks({ load(url, context, next) { process._rawDebug(url); return next(url, context); } });`);
  const exec = await execlet(['exec', '--server', 'http://127.0.0.1:1', 'pod', 'true'], { env });
  assert.match(exec.stderr, /\/src\/commands\/exec\.ts$/m); // what the hook prints is what is loaded
  assert.doesNotMatch(exec.stderr, /node_modules\/(dockerode|express|winston)\/|\/src\/daemon\.ts/);
  const help = await execlet(['serve', '--help'], { env });
  assert.match(help.stderr, /\/src\/commands\/serve\.ts$/m);
  assert.doesNotMatch(help.stderr, /node_modules\/dockerode\/|\/src\/(daemon\.ts|client\/)/);
});

test('the packaged command says that Node is too old, in one line and with exit code 2', async () => {
  const old = preloading(
    `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '22.9.0' } })`,
  );
  const { exitCode, stdout, stderr } = await execlet(['--version'], { env: old, file: 'bin.ts' });
  assert.match(stderr, /^execlet: needs Node 24 or newer, [^\n]*\n$/);
  assert.equal(exitCode, 2);
  assert.equal(stdout, '');
  assert.equal((await execlet(['--version'], { file: 'bin.ts' })).stdout, `${VERSION}\n`);
});
