import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, test } from 'node:test';
import { writeServerCertificate } from '../../support/certificates.ts';
import { temporaryDirectory } from '../../support/cleanup.ts';
import { kubernetesLabels } from '../../support/containers.ts';
import { Daemon } from '../../support/daemon.ts';
import type { Endpoint } from '../../support/dial.ts';
import { serveWeb } from '../../support/served.ts';
import { askForUpgrade } from '../../support/upgrade-request.ts';
import { HANDSHAKES, type Handshake } from './handshakes.ts';

const { path: directory } = await temporaryDirectory('tls');
const { certFile, keyFile } = await writeServerCertificate(directory);
const ca = await readFile(certFile, 'utf8');
let overTls: Daemon | undefined;
const served = serveWeb({
  beforeDaemon: async engine => {
    const labels = kubernetesLabels({ namespace: 'default', pod: 'known', container: 'app', uid: '0b5c4e1e-uid' });
    await engine.createContainer({ labels });
    overTls = await Daemon.start({ engine, args: ['--tls-cert-file', certFile, '--tls-private-key-file', keyFile] });
  },
});
after(async () => {
  await overTls?.stop();
});

const ENDPOINTS: readonly (readonly [title: string, endpoint: () => Endpoint])[] = [
  ['', () => ({ port: served.daemon.port })],
  [' over TLS', () => ({ port: overTls?.port ?? 0, ca })],
];

for (const [over, endpoint] of ENDPOINTS) {
  for (const handshake of HANDSHAKES) {
    const { items, transport, title, status } = handshake;
    test(`${items.join(', ')}: ${transport}${over}: ${title}: ${status}`, async () => {
      const answer = await askForUpgrade(endpoint(), requestOf(handshake));
      assert.equal(answer.status, status, answer.body);
      if (handshake.chosen !== undefined) assert.deepEqual(answer.values(versionHeader(transport)), handshake.chosen);
      if (typeof handshake.body === 'string') assert.equal(answer.body, handshake.body);
      else if (handshake.body !== undefined) assert.match(answer.body, handshake.body);
      if (handshake.accepted !== undefined) {
        assert.deepEqual(answer.values('X-Accepted-Stream-Protocol-Versions'), handshake.accepted);
      }
      assert.deepEqual(answer.values('Location'), []);
      if (status !== 101) assert.deepEqual(answer.values('Connection'), ['close']);
    });
  }
}

function versionHeader(transport: Handshake['transport']): string {
  return transport === 'spdy' ? 'X-Stream-Protocol-Version' : 'Sec-WebSocket-Protocol';
}

function requestOf({ transport, versions, target = '/exec/default/web/app?command=true&output=1' }: Handshake) {
  const offered = versions.length === 0 ? {} : { [versionHeader(transport)]: [...versions] };
  const common = { Host: 'localhost', Connection: 'Upgrade', ...offered };
  return transport === 'spdy'
    ? { method: 'POST' as const, target, headers: { ...common, Upgrade: 'SPDY/3.1', 'Content-Length': '0' } }
    : {
        method: 'GET' as const,
        target,
        headers: {
          ...common,
          Upgrade: 'websocket',
          'Sec-WebSocket-Version': '13',
          'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
        },
      };
}
