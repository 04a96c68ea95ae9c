import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { loadSettings } from '../../../src/config/load.ts';
import { checkApiServer } from '../../../src/doctor/api-server-check.ts';
import { ReviewServer } from '../../support/review-server.ts';

let server: ReviewServer;
before(async () => {
  server = await ReviewServer.start();
});
after(() => server.close());

async function look(kubeconfig?: string): Promise<string[]> {
  const settings = loadSettings({
    flags: {
      authenticationTokenWebhook: 'true',
      authorizationMode: 'Webhook',
      ...(kubeconfig !== undefined && { kubeconfig }),
    },
    env: {},
    readFile: () => '',
  });
  return (await checkApiServer(settings, 2_000)).map(({ result, text }) => `${result}: ${text}`);
}

test('an API server that answers both reviews, and tells the time', async () => {
  const kubeconfig = await server.kubeconfig();
  const where = `the API server https://127.0.0.1:${server.port}, asked by ${kubeconfig},`;
  assert.deepEqual(await look(kubeconfig), [
    `ok: ${where} answers a TokenReview`,
    `ok: ${where} answers a SubjectAccessReview`,
    'ok: the clock here and that of the API server agree',
  ]);
});

test('an API server that refuses one review, and one that does not know us', async () => {
  server.faults.push({ status: 403 });
  const [refused, allowed] = await look(await server.kubeconfig());
  assert.match(
    refused ?? '',
    /^problem: .*answers no TokenReview: .*may not ask .*\(403\).*tokenreviews.*system:auth-delegator/,
  );
  assert.match(allowed ?? '', /^ok: /);
  const stranger = await look(await server.kubeconfig({ user: { token: 'the-wrong-token' } }));
  assert.match(stranger[1] ?? '', /^problem: .*answers no SubjectAccessReview: .*\(401\); renew it/);
  assert.doesNotMatch(stranger.join('\n'), /the-wrong-token/);
});

test('an API server that is silent, is not there, or that no file names', async () => {
  server.faults.push('silence', 'silence');
  assert.match(
    (await look(await server.kubeconfig()))[0] ?? '',
    /^problem: .*no answer from the API server within 2 s/,
  );
  const nowhere = await look(await server.kubeconfig({ cluster: { server: 'https://127.0.0.1:1' } }));
  assert.match(nowhere[0] ?? '', /^problem: .*cannot reach the API server \(ECONNREFUSED\)/);
  assert.equal(nowhere.length, 2); // no clock to speak of
  assert.match(
    (await look('/nowhere/kubeconfig'))[0] ?? '',
    /^problem: --kubeconfig: \/nowhere\/kubeconfig: cannot be read \(ENOENT\)/,
  );
  assert.match((await look())[0] ?? '', /^problem: --kubeconfig: the pod's service account: /);
});

test('where the API server is asked nothing, nothing is said of it', async () => {
  assert.deepEqual(await checkApiServer(loadSettings({ flags: {}, env: {}, readFile: () => '' })), []);
});
