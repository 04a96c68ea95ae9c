import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type Docker from 'dockerode';
import { exitCodeOf } from './command.ts';

/** An image to be made of a directory. */
export interface ImageOfTree {
  /** `NAME:VERSION` */
  readonly tag: string;
  /** What becomes its root. */
  readonly tree: string;
  /** Further arguments of tar. */
  readonly tarArguments?: readonly string[];
  /** Instructions of a Dockerfile: `ENV`, `CMD`, `LABEL`. */
  readonly changes?: readonly string[];
}

/** Makes an image of one layer; its files belong to whom they belong here. */
export async function importTree(
  docker: Docker,
  { tag, tree, tarArguments = [], changes = [] }: ImageOfTree,
): Promise<void> {
  const tar = spawn('tar', ['--create', '--numeric-owner', ...tarArguments, '--directory', tree, '.'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [repo, version] = tag.split(':');
  const closed = once(tar, 'close');
  const progress = await docker.importImage(tar.stdout, { repo, tag: version, changes: [...changes] });
  await Promise.all([followToEnd(docker, progress), closed]);
  if (exitCodeOf(tar.exitCode, tar.signalCode) !== 0) throw new Error(`tar could not pack the image ${tag}`);
}

/** Waits for the end of a pull or an import; a failure comes as a line of its progress, not as an HTTP status. */
export async function followToEnd(docker: Docker, progress: NodeJS.ReadableStream): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    docker.modem.followProgress(progress, failure => (failure === null ? resolve() : reject(failure)));
  });
}
