import { findKubectls, type Kubectl, type Transport } from './kubectl.ts';

interface Client {
  readonly kubectl: Kubectl;
  readonly transport: Transport;
}

/** For tests that take too long to run with every kubectl: the oldest over SPDY, the newest over WebSocket. */
export async function oneKubectlPerTransport(): Promise<readonly [spdy: Client, websocket: Client]> {
  const kubectls = await findKubectls();
  const oldest = kubectls.find(({ transports }) => transports.includes('spdy'));
  const newest = kubectls.findLast(({ transports }) => transports.includes('websocket'));
  if (oldest === undefined || newest === undefined) throw new Error('the tests need a kubectl for each transport');
  return [
    { kubectl: oldest, transport: 'spdy' },
    { kubectl: newest, transport: 'websocket' },
  ];
}
