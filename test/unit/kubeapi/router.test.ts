import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { after, before, suite, test } from 'node:test';
import express from 'express';
import { createKubeApi } from '../../../src/kubeapi/router.ts';
import { VERSION } from '../../../src/version.ts';
import { fakeContainer, registryOf } from '../../support/fake-registry.ts';

suite('the Kubernetes API over HTTP', () => {
  let server: Server;
  let origin = '';

  before(async () => {
    const registry = registryOf(
      fakeContainer('default', 'web', 'one'),
      fakeContainer('default', 'solo', 'one'),
      fakeContainer('kube-system', 'dns', 'dns'),
    );
    const app = express();
    app.use(createKubeApi({ registry, nodeName: 'node-1', checkServing: () => undefined }));
    app.use((_request, response) => void response.status(418).end('passed on'));
    server = createServer(app).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    assert.ok(typeof address === 'object' && address !== null);
    origin = `http://127.0.0.1:${address.port}`;
  });

  after(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });

  const ask = async (path: string, init: RequestInit = {}): Promise<{ code: number; body: unknown }> => {
    const response = await fetch(`${origin}${path}`, init);
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
    return { code: response.status, body: isJson ? JSON.parse(text) : text };
  };

  const namesOf = (body: unknown): unknown[] => {
    assert.ok(typeof body === 'object' && body !== null && 'items' in body && Array.isArray(body.items));
    return body.items.map((item: unknown) => {
      assert.ok(typeof item === 'object' && item !== null && 'metadata' in item);
      assert.ok(typeof item.metadata === 'object' && item.metadata !== null && 'name' in item.metadata);
      return item.metadata.name;
    });
  };

  const failure = (code: number, reason: string, message: string, details: object = {}): object => ({
    code,
    body: {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message,
      reason,
      details,
      code,
    },
  });

  test('/version is that of Kubernetes 1.32, with our own version behind it', async () => {
    assert.partialDeepStrictEqual(await ask('/version'), {
      code: 200,
      body: { major: '1', minor: '32', gitVersion: `v1.32.0+execlet-${VERSION}` },
    });
  });

  test('discovery lists the core group with pods and their exec, and nothing else', async () => {
    const aggregated = { headers: { accept: 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList' } };
    assert.partialDeepStrictEqual(await ask('/api', aggregated), { body: { kind: 'APIVersions', versions: ['v1'] } });
    assert.partialDeepStrictEqual(await ask('/apis', aggregated), { body: { kind: 'APIGroupList', groups: [] } });
    assert.partialDeepStrictEqual(await ask('/api/v1'), {
      body: { kind: 'APIResourceList', resources: [{ name: 'pods' }, { name: 'pods/exec' }] },
    });
  });

  test('lists pods of all namespaces, of one, and of one that does not exist', async () => {
    assert.deepEqual(namesOf((await ask('/api/v1/pods')).body), ['solo', 'web', 'dns']);
    assert.deepEqual(namesOf((await ask('/pods')).body), ['solo', 'web', 'dns']);
    assert.deepEqual(namesOf((await ask('/api/v1/namespaces/default/pods?limit=1')).body), ['solo', 'web']);
    assert.deepEqual(namesOf((await ask('/api/v1/namespaces/other/pods')).body), []);
  });

  test('selectors narrow the list, and one that cannot be understood is 400', async () => {
    const list = '/api/v1/pods?';
    assert.deepEqual(namesOf((await ask(`${list}fieldSelector=metadata.name%3Dweb`)).body), ['web']);
    assert.deepEqual(namesOf((await ask(`${list}labelSelector=app`)).body), []);
    assert.deepEqual(
      await ask(`${list}fieldSelector=spec.hostIP%3Dx`),
      failure(400, 'BadRequest', 'field label not supported: spec.hostIP'),
    );
  });

  test('answers a pod, as an object or as a table', async () => {
    const path = '/api/v1/namespaces/default/pods/web';
    assert.partialDeepStrictEqual(await ask(path), { code: 200, body: { kind: 'Pod', metadata: { name: 'web' } } });
    const accept = 'application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json';
    assert.partialDeepStrictEqual(await ask(path, { headers: { accept } }), {
      code: 200,
      body: {
        kind: 'Table',
        apiVersion: 'meta.k8s.io/v1beta1',
        rows: [{ object: { kind: 'PartialObjectMetadata', metadata: { namespace: 'default', name: 'web' } } }],
      },
    });
  });

  test('an unknown pod is 404 in the words of an API server', async () => {
    assert.deepEqual(
      await ask('/api/v1/namespaces/kube-system/pods/web'),
      failure(404, 'NotFound', 'pods "web" not found', { name: 'web', kind: 'pods' }),
    );
  });

  test('a namespace is there, whether or not a pod is in it', async () => {
    for (const name of ['kube-system', 'other']) {
      assert.deepEqual(await ask(`/api/v1/namespaces/${name}`), {
        code: 200,
        body: { kind: 'Namespace', apiVersion: 'v1', metadata: { name }, status: { phase: 'Active' } },
      });
    }
  });

  test('a name that does not decode is 400 with a Status', async () => {
    assert.partialDeepStrictEqual(
      await ask('/api/v1/namespaces/%zz/pods'),
      failure(400, 'BadRequest', "Failed to decode param '%zz'"),
    );
  });

  test('other methods are 405, in the words of an API server', async () => {
    const refusal = failure(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource');
    assert.deepEqual(await ask('/api/v1/namespaces/default/pods/web', { method: 'DELETE' }), refusal);
    assert.deepEqual(await ask('/api/v1/pods', { method: 'POST', body: '{}' }), refusal);
    assert.deepEqual(await ask('/api/v1/namespaces/default', { method: 'DELETE' }), refusal);
  });

  test('creating a pod, as kubectl run does, is 501', async () => {
    const { code, body } = await ask('/api/v1/namespaces/default/pods', { method: 'POST', body: '{}' });
    assert.equal(code, 501);
    assert.match(JSON.stringify(body), /execlet serves exec only, not run/);
  });

  test('a watch is refused, not answered with a list', async () => {
    assert.deepEqual(
      await ask('/api/v1/pods?watch=1'),
      failure(405, 'MethodNotAllowed', 'execlet does not serve watches: list the pods again instead'),
    );
    assert.equal((await ask('/api/v1/pods?watch=false')).code, 200);
  });

  test('what execlet does not do is 501: a Status for the API, text for the kubelet', async () => {
    assert.deepEqual(
      await ask('/api/v1/namespaces/default/pods/web/log'),
      failure(501, 'NotImplemented', 'execlet serves exec only, not logs'),
    );
    assert.deepEqual(await ask('/run/default/web/one', { method: 'POST' }), {
      code: 501,
      body: 'execlet serves exec only, not run',
    });
  });

  test('a type that nobody here writes is 406', async () => {
    assert.partialDeepStrictEqual(await ask('/api/v1/pods', { headers: { accept: 'application/yaml' } }), {
      code: 406,
      body: { reason: 'NotAcceptable' },
    });
  });

  test('paths that are none of the API are passed on', async () => {
    for (const path of ['/exec/default/web/one', '/healthz', '/']) {
      assert.deepEqual(await ask(path), { code: 418, body: 'passed on' }, path);
    }
  });
});
