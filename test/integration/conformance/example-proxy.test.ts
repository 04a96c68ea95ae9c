import { after } from 'node:test';
import { Credentials } from '../../support/access.ts';
import { ExampleProxy } from '../../support/example-proxy.ts';
import { serveWeb } from '../../support/served.ts';
import { describeConformance, PATIENT, WIRES } from './suite.ts';

const credentials = await Credentials.make('conformance');
const certificate = await credentials.user('alice');
let proxy: ExampleProxy | undefined;
const served = serveWeb({
  args: [
    ...PATIENT,
    ...(await credentials.tls()),
    ...(await credentials.clientCertificates()),
    ...(await credentials.rules('rules: [{ users: [alice], verbs: [exec, get] }]\n')),
  ],
  afterDaemon: async ({ port }) => {
    const nodes = [{ name: 'node', url: `https://127.0.0.1:${port}` }];
    proxy = await ExampleProxy.start(credentials, { nodes });
  },
});
after(async () => proxy?.stop());

describeConformance({
  served,
  over: ' through the example proxy',
  wires: WIRES.filter(({ transport, protocol }) =>
    transport === 'spdy' ? protocol === 'v4.channel.k8s.io' : protocol === 'v5.channel.k8s.io',
  ),
  server: () => ({ port: proxy?.port ?? 0, form: 'api', ca: credentials.servers.certificate, certificate }),
});
