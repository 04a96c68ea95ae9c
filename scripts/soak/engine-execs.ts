import type { TestContainer } from '../../test/support/containers.ts';
import type { TestEngine } from '../../test/support/engine.ts';

/** An exec that the Engine still keeps with its container: one that runs, or one that was never started. */
export interface KeptExec {
  readonly id: string;
  readonly running: boolean;
  readonly command: string;
}

/** The execs of the containers that the Engine counts as not over (`ExecIDs`). */
export async function keptExecs(engine: TestEngine, containers: readonly TestContainer[]): Promise<KeptExec[]> {
  const kept: KeptExec[] = [];
  for (const container of containers) {
    const { ExecIDs } = (await container.docker.inspect()) as { ExecIDs?: readonly string[] | null };
    for (const id of ExecIDs ?? []) {
      const { Running, ProcessConfig } = await engine.docker.getExec(id).inspect();
      kept.push({ id, running: Running, command: [ProcessConfig.entrypoint, ...ProcessConfig.arguments].join(' ') });
    }
  }
  return kept;
}
