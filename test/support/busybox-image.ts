import { chmod, copyFile, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type Docker from 'dockerode';
import { temporaryDirectory } from './cleanup.ts';
import { findExecutable, mustRun } from './command.ts';
import { importTree } from './import-image.ts';

const PT_INTERP = 3;

/**
 * The machine's statically linked busybox; undefined where there is none. Debian's package `busybox-static` brings one,
 * but its package `busybox` a dynamically linked one of the same name.
 */
export async function findStaticBusybox(): Promise<string | undefined> {
  for (const name of ['busybox', 'busybox-static', 'busybox.static']) {
    const file = await findExecutable(name);
    if (file !== undefined && (await isStatic(file))) return file;
  }
  return undefined;
}

/** Imports an image `tag` made of that busybox alone: all its applets, a root user and the directories a shell expects. */
export async function importBusybox(
  docker: Docker,
  { busybox, tag, label }: { busybox: string; tag: string; label: string },
): Promise<void> {
  const root = await temporaryDirectory('busybox');
  try {
    await layOut(root.path, busybox);
    await importTree(docker, {
      tag,
      tree: root.path,
      tarArguments: ['--owner=0', '--group=0'],
      changes: ['ENV PATH=/bin', 'CMD ["sh"]', `LABEL ${label}`],
    });
  } finally {
    await root.remove();
  }
}

async function layOut(root: string, busybox: string): Promise<void> {
  for (const directory of ['bin', 'dev', 'etc', 'proc', 'root', 'sys', 'tmp', 'var']) {
    await mkdir(join(root, directory));
  }
  await chmod(join(root, 'tmp'), 0o1777);
  await copyFile(busybox, join(root, 'bin', 'busybox'));
  await chmod(join(root, 'bin', 'busybox'), 0o755);
  const applets = (await mustRun(busybox, ['--list'])).split('\n').filter(name => name !== '' && name !== 'busybox');
  for (const applet of applets) await symlink('busybox', join(root, 'bin', applet));
  await writeFile(join(root, 'etc', 'passwd'), 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n');
  await writeFile(join(root, 'etc', 'group'), 'root:x:0:\nnogroup:x:65534:\n');
}

/** A dynamically linked program names its loader in a program header of type PT_INTERP (elf(5), 64 bits, little-endian). */
async function isStatic(file: string): Promise<boolean> {
  const elf = await readFile(file);
  if (elf.toString('latin1', 0, 6) !== '\x7fELF\x02\x01') return false;
  const headers = { offset: Number(elf.readBigUInt64LE(32)), size: elf.readUInt16LE(54), count: elf.readUInt16LE(56) };
  const types = Array.from({ length: headers.count }, (_, index) =>
    elf.readUInt32LE(headers.offset + index * headers.size),
  );
  return !types.includes(PT_INTERP);
}
