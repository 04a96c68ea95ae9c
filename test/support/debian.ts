import { access, mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheDirectory } from './checkout.ts';
import { temporaryDirectory } from './cleanup.ts';
import { mustRun } from './command.ts';

const APT_TIMEOUT_MS = 10 * 60_000;
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/**
 * Installs packages and starts none of their services. A policy-rc.d that answers 101 is Debian's way to forbid that; the
 * machine's own, where there is one, is put aside meanwhile and put back by the shell's trap, whatever happens to us.
 */
const INSTALL_SCRIPT = `
set -e
policy=/usr/sbin/policy-rc.d
saved=$policy.before-execlet-tests
put_back() {
  rm -f "$policy"
  if [ -e "$saved" ]; then mv "$saved" "$policy"; fi
}
if [ -e "$policy" ] && [ ! -e "$saved" ]; then mv "$policy" "$saved"; fi
trap put_back EXIT
trap 'exit 130' HUP INT TERM
printf '#!/bin/sh\\nexit 101\\n' >"$policy"
chmod 755 "$policy"
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y --no-install-recommends "$@"; }
install "$@" || { apt-get update; install "$@"; }
`;

/** True on Debian and its derivatives, for root: where installPackages can work. */
export async function canInstallPackages(): Promise<boolean> {
  return process.getuid?.() === 0 && (await isDebian());
}

export async function isDebian(): Promise<boolean> {
  return access('/etc/debian_version').then(
    () => true,
    () => false,
  );
}

/** Installs the packages with apt, services not started; package lists are only fetched when it fails without. */
export async function installPackages(names: readonly string[]): Promise<void> {
  console.error(`installing ${names.join(' and ')} with apt for the tests`);
  await withAptLock(['sh', '-c', INSTALL_SCRIPT, 'sh', ...names]);
}

/**
 * Unpacks a package of a Debian suite (`bookworm`, `stable`, …), from the machine's own mirror, into `.cache/` and answers
 * that directory. Nothing is installed and the machine's own package lists stay as they are.
 */
export async function unpackPackage(name: string, suite: string): Promise<string> {
  const unpacked = join(await cacheDirectory('packages'), `${name}-${suite}`);
  if (await exists(unpacked)) return unpacked;
  console.error(`downloading ${name} of Debian ${suite} for the tests`);
  const work = await temporaryDirectory('apt');
  try {
    const apt = await privateApt(work.path, suite);
    await mustRun('apt-get', [...apt, 'update'], { timeoutMs: APT_TIMEOUT_MS });
    await mustRun('apt-get', [...apt, 'download', name], { cwd: work.path, timeoutMs: APT_TIMEOUT_MS });
    const archive = (await readdir(work.path)).find(file => file.endsWith('.deb'));
    if (archive === undefined) throw new Error(`apt-get download ${name} left no package`);
    const incomplete = await mkdtemp(`${unpacked}.`);
    await mustRun('dpkg', ['-x', join(work.path, archive), incomplete]);
    // Whole or not at all: another test, in this process or another, may be doing the same.
    await rename(incomplete, unpacked).catch(async (cause: unknown) => {
      await rm(incomplete, { recursive: true, force: true });
      if (!(await exists(unpacked))) throw cause;
    });
    return unpacked;
  } finally {
    await work.remove();
  }
}

/** apt's options for a state of its own below `directory`, with that one suite of the machine's mirror. */
async function privateApt(directory: string, suite: string): Promise<string[]> {
  for (const path of ['lists/partial', 'cache/archives/partial']) {
    await mkdir(join(directory, path), { recursive: true });
  }
  const sources = join(directory, 'sources.list');
  await writeFile(sources, `deb [signed-by=${KEYRING}] ${await debianMirror()} ${suite} main\n`);
  const options = {
    'Dir::Etc::SourceList': sources,
    'Dir::Etc::SourceParts': '/dev/null',
    'Dir::Etc::PreferencesParts': '/dev/null',
    'Dir::State::status': '/dev/null', // what is installed has no say in what is downloaded
    'Dir::State::Lists': join(directory, 'lists'),
    'Dir::Cache': join(directory, 'cache'),
    'APT::Sandbox::User': 'root', // apt's own user may not enter our directory
    'Acquire::Languages': 'none',
  };
  return Object.entries(options).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
}

/** Where this machine gets Debian's main archive from. */
export async function debianMirror(): Promise<string> {
  // The only listing that needs no package lists: `'URL/dists/SUITE/InRelease' file size`.
  const uris = await mustRun('apt-get', ['update', '--print-uris']);
  for (const [, mirror, suite] of uris.matchAll(/^'([^']+)\/dists\/([^/']+)\/InRelease'/gm)) {
    if (mirror !== undefined && suite !== undefined && !suite.includes('-')) return mirror;
  }
  throw new Error('apt on this machine knows no Debian mirror: its sources name no main suite');
}

/** One apt at a time, also among test processes. */
async function withAptLock(command: readonly string[]): Promise<void> {
  const lock = join(await cacheDirectory('.'), 'apt.lock');
  await mustRun('flock', [lock, ...command], { timeoutMs: APT_TIMEOUT_MS });
}

export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
