import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type Docker from 'dockerode';
import { followToEnd } from './busybox-image.ts';
import { CHECKOUT } from './checkout.ts';
import { temporaryDirectory } from './cleanup.ts';
import { exitCodeOf, mustRun } from './command.ts';

/**
 * Imports an image `execlet` that runs the checkout as the Dockerfile's runs the package: no shell but what starts Node, and the
 * same entry point. Node and its libraries are this host's, so it needs no registry.
 */
export async function importExeclet(docker: Docker, { busybox, tag }: { busybox: string; tag: string }): Promise<void> {
  const root = await temporaryDirectory('image');
  try {
    const libraries = (await mustRun('ldd', [process.execPath])).match(/\/\S+(?= \(0x)/g) ?? [];
    for (const library of libraries) await put(library, join(root.path, library));
    await put(process.execPath, join(root.path, 'usr/local/bin/node'));
    await put(busybox, join(root.path, 'bin/sh'));
    const start = '#!/bin/sh\nexec /usr/local/bin/node /app/src/main.ts "$@"\n';
    await writeFile(join(root.path, 'usr/local/bin/execlet'), start);
    await chmod(join(root.path, 'usr/local/bin/execlet'), 0o755);
    const parts = [
      '-C',
      root.path,
      '.',
      '-C',
      CHECKOUT,
      '--transform',
      's,^\\(src\\|node_modules\\|package.json\\),app/\\1,',
    ];
    const left = ['typescript', '@typescript-eslint', 'prettier', 'node', 'node-bin*'].map(
      name => `--exclude=node_modules/${name}`,
    );
    const tar = spawn('tar', ['-c', ...left, ...parts, 'src', 'node_modules', 'package.json'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const closed = once(tar, 'close');
    const [repo, version] = tag.split(':');
    const changes = ['ENV PATH=/usr/local/bin:/usr/bin:/bin', 'ENTRYPOINT ["execlet"]', 'CMD ["serve"]'];
    await followToEnd(docker, await docker.importImage(tar.stdout, { repo, tag: version, changes }));
    await closed;
    if (exitCodeOf(tar.exitCode, tar.signalCode) !== 0) throw new Error('tar could not pack the image');
  } finally {
    await root.remove();
  }
}

async function put(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await copyFile(from, to);
}
