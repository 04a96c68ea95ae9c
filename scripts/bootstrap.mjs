/**
 * Prepares a checkout so that npm scripts run in it: installs the dependencies when they are missing or older than the lock
 * file, and makes sure that the pinned Node is there. Runs on the system's Node and without any dependency.
 */
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SYSTEM_NODE_MAJOR = 20;
const PINNED_NODE_MAJOR = 24;

const checkout = dirname(dirname(fileURLToPath(import.meta.url)));

process.exitCode = bootstrap();

/** Answers the exit code. */
function bootstrap() {
  if (majorOf(process.version) < SYSTEM_NODE_MAJOR) {
    console.error(`execlet needs Node ${SYSTEM_NODE_MAJOR} or newer to set itself up; this is ${process.version}.`);
    return 2;
  }
  if (!isInstalled()) {
    console.error('execlet: installing the dependencies (npm ci)');
    const exitCode = install();
    if (exitCode !== 0) return exitCode;
  }
  const version = pinnedNodeVersion();
  if (version !== undefined && majorOf(version) >= PINNED_NODE_MAJOR) return 0;
  console.error(
    `execlet: node_modules/.bin/node is ${version ?? 'missing'}, not Node ${PINNED_NODE_MAJOR} or newer; its install script ` +
      'was blocked or failed: run `npm rebuild node --ignore-scripts=false`.',
  );
  return 1;
}

/** npm writes node_modules/.package-lock.json last, so its time is that of the last complete installation. */
function isInstalled() {
  const installed = modifiedAt('node_modules/.package-lock.json');
  return installed !== undefined && installed >= (modifiedAt('package-lock.json') ?? 0);
}

/** Runs `npm ci`, which is silent unless it fails, since stdout belongs to the script that comes next. */
function install() {
  const { status, error, stdout, stderr } = spawnSync('npm', ['ci', '--include=dev', '--no-audit', '--no-fund'], {
    cwd: checkout,
    encoding: 'utf8',
    maxBuffer: Infinity,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (status === 0) return 0;
  process.stderr.write(`${stdout ?? ''}${stderr ?? ''}`);
  if (error !== undefined) console.error(`execlet: npm could not be run: ${error.message}`);
  return status ?? 1;
}

function pinnedNodeVersion() {
  const { status, stdout } = spawnSync(join(checkout, 'node_modules', '.bin', 'node'), ['--version'], {
    encoding: 'utf8',
  });
  return status === 0 ? stdout.trim() : undefined;
}

function majorOf(version) {
  return Number(/^v(\d+)\./.exec(version)?.[1]);
}

/** In milliseconds; undefined where the file is missing. */
function modifiedAt(file) {
  return statSync(join(checkout, file), { throwIfNoEntry: false })?.mtimeMs;
}
