import { join } from 'node:path';
import { findExecutable, isExecutable, runCommand } from './command.ts';
import { isDebian, unpackPackage } from './debian.ts';

const PLUGIN_DIRECTORIES = ['/usr/local/lib', '/usr/local/libexec', '/usr/lib', '/usr/libexec'];

/**
 * Docker Compose, version 2 or newer, as a program of its own: the one on PATH, docker's plugin, or Debian's, which is
 * downloaded into `.cache/` and not installed.
 *
 * @throws where there is none, with what to do
 */
export async function findCompose(): Promise<string> {
  const present = [
    await findExecutable('docker-compose'),
    ...PLUGIN_DIRECTORIES.map(directory => join(directory, 'docker', 'cli-plugins', 'docker-compose')),
  ];
  for (const file of present) if (file !== undefined && (await isVersion2(file))) return file;
  try {
    if (!(await isDebian())) throw new Error('Only on Debian can the tests fetch it by themselves.');
    const unpacked = await unpackPackage('docker-compose', 'trixie');
    return join(unpacked, 'usr', 'libexec', 'docker', 'cli-plugins', 'docker-compose');
  } catch (cause) {
    throw new Error('The tests need Docker Compose 2 or newer, as a plugin of docker.', { cause });
  }
}

async function isVersion2(file: string): Promise<boolean> {
  if (!(await isExecutable(file))) return false;
  const { exitCode, stdout } = await runCommand(file, ['version', '--short']);
  return exitCode === 0 && /^v?([2-9]|\d\d)\./.test(stdout.toString());
}
