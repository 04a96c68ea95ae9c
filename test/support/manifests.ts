import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { CHECKOUT } from './checkout.ts';
import { runCommand } from './command.ts';
import { findKubectls } from './kubectl.ts';

const DEPLOY = join(CHECKOUT, 'deploy');

const manifest = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({
    name: z.string(),
    namespace: z.string().optional(),
    labels: z.record(z.string(), z.string()).optional(),
  }),
});

/** A Kubernetes object as kustomize writes it. */
export type Manifest = z.infer<typeof manifest>;

/** What may be applied: `base`, and each directory of `overlays`. */
export async function deployments(): Promise<string[]> {
  const overlays = await readdir(join(DEPLOY, 'overlays'));
  return ['base', ...overlays.sort().map(name => `overlays/${name}`)];
}

/** What `kubectl kustomize` makes of a directory, by its path from `deploy/`. @throws also where it only warns */
export async function renderManifests(directory: string): Promise<Manifest[]> {
  const kubectl = (await findKubectls()).at(-1);
  if (kubectl === undefined) throw new Error('there is no kubectl');
  const rendered = await runCommand(kubectl.path, ['kustomize', resolve(DEPLOY, directory)], { env: kubectl.env() });
  if (rendered.exitCode !== 0 || rendered.stderr !== '') {
    throw new Error(`kubectl kustomize ${directory}: exit code ${rendered.exitCode}: ${rendered.stderr}`);
  }
  return parseAllDocuments(rendered.stdout.toString()).map(document => manifest.parse(document.toJS()));
}

/** The one of that kind; of that name, where there are more. @throws where it is not there */
export function manifestOf(manifests: readonly Manifest[], kind: string, name?: string): Manifest {
  const [found, ...others] = manifests.filter(
    each => each.kind === kind && (name === undefined || each.metadata.name === name),
  );
  if (found === undefined || others.length > 0) throw new Error(`${1 + others.length} of ${kind} ${name ?? ''}`);
  return found;
}
