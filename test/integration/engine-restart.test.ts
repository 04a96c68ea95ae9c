import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { serveWeb } from '../support/served.ts';
import { execOverWebSocket } from '../support/websocket-client.ts';

const served = serveWeb();

async function readyzBecomes(code: number): Promise<string> {
  const deadline = Date.now() + 15_000;
  for (;;) {
    const response = await fetch(`${served.daemon.url}/readyz`);
    const body = await response.text();
    if (response.status === code) return body;
    assert.ok(Date.now() < deadline, `readyz still answers ${response.status}: ${body}`);
    await delay(20);
  }
}

test('an Engine that is killed is logged once and waited for; when it is back, so are its containers', async () => {
  const { daemon, web } = served;
  const dockerd = served.engine.requirePrivate(); // says what to do where the Engine is not ours to stop
  await dockerd.kill();
  assert.match(await readyzBecomes(503), /engine failed: the Engine at .* does not answer/);
  const refused = await fetch(`${daemon.url}/exec/default/web/app?command=true&output=1`);
  assert.equal(refused.status, 503);

  await dockerd.start();
  await readyzBecomes(200);
  // Without live-restore a container does not outlive its dockerd; the registry knows that.
  const stopped = await fetch(`${daemon.url}/exec/default/web/app?command=true&output=1`);
  assert.equal(stopped.status, 409, await stopped.text());
  await web.docker.start();
  const url = `ws://127.0.0.1:${daemon.port}/exec/default/web/app?command=echo&command=hi&output=1`;
  const deadline = Date.now() + 5_000;
  let stdout = '';
  while (stdout === '' && Date.now() < deadline) {
    stdout = await execOverWebSocket({ url, protocols: ['v4.channel.k8s.io'] }).then(
      result => result.stdout.toString(),
      () => delay(20, ''),
    );
  }
  assert.equal(stdout, 'hi\n');
  assert.equal(daemon.log.filter(({ message }) => message === 'engine unavailable').length, 1);
  assert.equal(daemon.log.filter(({ message }) => message === 'engine is back').length, 1);
});
