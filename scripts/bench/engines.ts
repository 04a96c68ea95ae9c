import { join } from 'node:path';
import { temporaryDirectory } from '../../test/support/cleanup.ts';
import { kubernetesLabels } from '../../test/support/containers.ts';
import { startTestEngine } from '../../test/support/engine.ts';
import { startStandIn } from './processes.ts';

/** An Engine with the container `default/web/app`. */
export interface BenchEngine {
  readonly name: 'stand-in' | 'dockerd';
  readonly dockerHost: string;
  readonly socketPath: string;
  readonly containerId: string;
  end(): Promise<void>;
}

export async function openStandIn({ containers = 1 }: { containers?: number } = {}): Promise<BenchEngine> {
  const directory = await temporaryDirectory('bench');
  const socketPath = join(directory.path, 'docker.sock');
  const standIn = await startStandIn(socketPath, containers);
  return {
    name: 'stand-in',
    dockerHost: `unix://${socketPath}`,
    socketPath,
    containerId: 'c'.repeat(64),
    end: async () => {
      await standIn.end();
      await directory.remove();
    },
  };
}

/** The same Engine as the tests use. @throws where it listens on TCP only */
export async function openDockerd(): Promise<BenchEngine> {
  const engine = await startTestEngine();
  const labels = kubernetesLabels({ namespace: 'default', pod: 'web', container: 'app' });
  const { id } = await engine.createContainer({ labels });
  const { dockerHost } = engine;
  if (!dockerHost.startsWith('unix://'))
    throw new Error(`the benchmark needs an Engine on a Unix socket, not ${dockerHost}`);
  return {
    name: 'dockerd',
    dockerHost,
    socketPath: dockerHost.slice('unix://'.length),
    containerId: id,
    end: () => engine.stop(),
  };
}
