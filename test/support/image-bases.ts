import { chmod, copyFile, cp, mkdir, readdir, realpath, rename, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type Docker from 'dockerode';
import { cacheDirectory } from './checkout.ts';
import { temporaryDirectory } from './cleanup.ts';
import { findExecutable, mustRun } from './command.ts';
import { canInstallPackages, debianMirror, exists, unpackPackage } from './debian.ts';
import { followToEnd, importTree } from './import-image.ts';

const SUITE = 'bookworm';
const BOOTSTRAP_TIMEOUT_MS = 10 * 60_000;
const PULL_TIMEOUT_MS = 30_000;
/** As much of Debian as Node needs. */
const RUNTIME_PACKAGES = ['base-files', 'libc6', 'libgcc-s1', 'libstdc++6'];
/** Debian's name for the bundle, which Node is pointed at since it has CAs of its own. */
const CA_BUNDLE = '/etc/ssl/certs/ca-certificates.crt';

/** The Dockerfile's arguments, and what they are to be: empty where its own defaults can be had. */
export type ImageBases = Readonly<Record<string, string>>;

/**
 * What the image is built of, in that Engine: the public images that the Dockerfile names where a registry can be reached, else two
 * that are made here, of a minimal Debian from the machine's mirror and the Node that runs the tests.
 *
 * @throws where neither can be had, with what to do
 */
export async function provideImageBases(docker: Docker, publicImages: readonly string[]): Promise<ImageBases> {
  if (await canPull(docker, publicImages)) return {};
  if (!(await canInstallPackages())) {
    throw new Error(
      `The Engine can pull neither of ${publicImages.join(' and ')}, and only root on Debian can make what replaces them: ` +
        'load them there.',
    );
  }
  const debian = await bootstrapDebian();
  await importNode(docker, debian, 'execlet-test/node:latest');
  await importRuntime(docker, debian, 'execlet-test/runtime:latest');
  return { NODE_IMAGE: 'execlet-test/node:latest', BASE_IMAGE: 'execlet-test/runtime:latest' };
}

/** False also where it takes too long: an Engine without a registry may try for minutes. */
async function canPull(docker: Docker, images: readonly string[]): Promise<boolean> {
  const pull = async (): Promise<boolean> => {
    for (const image of images) await followToEnd(docker, await docker.pull(image));
    return true;
  };
  return Promise.race([pull().catch(() => false), delay(PULL_TIMEOUT_MS, false, { ref: false })]);
}

/** A minimal Debian with the packages that it was made of in `var/cache/apt/archives`; below `.cache/`, made once. */
async function bootstrapDebian(): Promise<string> {
  const root = join(await cacheDirectory('debian'), SUITE);
  if (await exists(root)) return root;
  const script = join(await unpackPackage('debootstrap', SUITE), 'usr');
  const incomplete = `${root}.${process.pid}`;
  console.error(`making a minimal Debian ${SUITE} for the tests`);
  await mustRun(join(script, 'sbin', 'debootstrap'), ['--variant=minbase', SUITE, incomplete, await debianMirror()], {
    env: { ...process.env, DEBOOTSTRAP_DIR: join(script, 'share', 'debootstrap') },
    timeoutMs: BOOTSTRAP_TIMEOUT_MS,
  });
  await rename(incomplete, root);
  return root;
}

/** Like the public image `node`: Debian with Node and npm. */
async function importNode(docker: Docker, debian: string, tag: string): Promise<void> {
  const tree = await temporaryDirectory('node-image');
  try {
    await mustRun('cp', ['--archive', `${debian}/.`, tree.path]);
    const bin = join(tree.path, 'usr/local/bin');
    const modules = join(tree.path, 'usr/local/lib/node_modules');
    await mkdir(bin, { recursive: true });
    await mkdir(modules, { recursive: true });
    await copyFile(process.execPath, join(bin, 'node'));
    await cp(await npmDirectory(), join(modules, 'npm'), { recursive: true });
    await symlink('../lib/node_modules/npm/bin/npm-cli.js', join(bin, 'npm'));
    await copyCaBundle(tree.path);
    const env = `ENV PATH=/usr/local/bin:/usr/bin:/bin NODE_EXTRA_CA_CERTS=${CA_BUNDLE}`;
    await importTree(docker, {
      tag,
      tree: tree.path,
      tarArguments: ['--exclude=./var/cache/apt/archives/*'],
      changes: [env],
    });
  } finally {
    await tree.remove();
  }
}

/** Like the public image `distroless/cc`: libraries, CAs, and no program at all. */
async function importRuntime(docker: Docker, debian: string, tag: string): Promise<void> {
  const tree = await temporaryDirectory('runtime-image');
  try {
    await chmod(tree.path, 0o755);
    const archives = join(debian, 'var/cache/apt/archives');
    for (const archive of await readdir(archives)) {
      if (RUNTIME_PACKAGES.includes(archive.split('_')[0] ?? '')) {
        await mustRun('dpkg-deb', ['--extract', join(archives, archive), tree.path]);
      }
    }
    await copyCaBundle(tree.path);
    await importTree(docker, { tag, tree: tree.path });
  } finally {
    await tree.remove();
  }
}

async function copyCaBundle(root: string): Promise<void> {
  await mkdir(join(root, dirname(CA_BUNDLE)), { recursive: true });
  await copyFile(CA_BUNDLE, join(root, CA_BUNDLE));
}

/** Where the npm that runs here lives. */
async function npmDirectory(): Promise<string> {
  const npm = await findExecutable('npm');
  if (npm === undefined) throw new Error('there is no npm on PATH');
  return dirname(dirname(await realpath(npm)));
}
