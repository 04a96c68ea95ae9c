import { after } from 'node:test';
import { startApiServerProxy, type ApiServerProxy } from '../../support/api-server-proxy.ts';
import { serveWeb } from '../../support/served.ts';
import { describeConformance, PATIENT, WIRES } from './suite.ts';

let proxy: ApiServerProxy | undefined;
const served = serveWeb({
  args: PATIENT,
  afterDaemon: async ({ port }) => {
    proxy = await startApiServerProxy({ daemonPort: port });
  },
});
after(async () => proxy?.close());

describeConformance({
  served,
  over: " through an API server's proxy",
  // What an API server sends to its nodes.
  wires: WIRES.filter(({ transport, protocol }) =>
    transport === 'spdy' ? protocol === 'v4.channel.k8s.io' : protocol === 'v5.channel.k8s.io',
  ),
  server: () => ({ port: Number(new URL(proxy?.url ?? '').port), form: 'api' }),
});
