import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ExecletError } from '../../../src/errors.ts';
import { notServed } from '../../../src/kubeapi/not-served.ts';
import { parseExecPath, parseExecRequest, type ExecTarget } from '../../../src/server/exec-request.ts';
import { outcomeOf, type FuzzTarget } from '../target.ts';

const PATHS = [
  '/exec/ns/pod/c',
  '/exec/ns/pod/uid/c',
  '/api/v1/namespaces/ns/pods/pod/exec',
  '/attach/ns/pod/c',
  '/api/v1/namespaces/ns/pods/pod/log',
];

/** `METHOD TARGET`, as in a request line: an exec that can be run, an ExecletError, or no exec path. */
export const execRequest: FuzzTarget = {
  name: 'exec-request',
  sources: ['server/exec-request.ts', 'kubeapi/not-served.ts'],
  tokens: [
    ...[
      'POST ',
      'GET ',
      ...PATHS,
      '/',
      '..',
      '%2e',
      '%2F',
      '%00',
      '%',
      '%zz',
      '%c3%a9',
      '?',
      '&',
      '=',
      'command=ls',
      '+',
    ],
    ...[
      'input=1',
      'output=1',
      'error=1',
      'tty=1',
      'stdin=true',
      'stdout=true',
      'stderr=false',
      'tty=FALSE',
      'container=c',
    ],
  ],
  nearlyRight: fc
    .tuple(
      fc.constantFrom('GET', 'POST', 'PUT'),
      fc.constantFrom(...PATHS),
      fc.oneof(fc.string({ maxLength: 3 }), fc.constantFrom('%2F', '%00', '%2e%2e', '/', '/..', '%zz', '%c3%a9')),
      fc.array(
        fc.tuple(
          fc.constantFrom('command', 'input', 'output', 'stdin', 'stdout', 'stderr', 'error', 'tty', 'container'),
          fc.oneof(fc.constantFrom('1', 'true', '0', ''), fc.string()),
        ),
      ),
      fc.nat(),
    )
    .map(([method, path, strange, query, at]) => {
      const place = at % (path.length + 1);
      const changed = path.slice(0, place) + strange + path.slice(place);
      return `${method} ${changed}?${new URLSearchParams(query).toString()}`;
    }),
  check: input => {
    const text = input.toString('latin1'); // as Node decodes a request line
    const [method, url] = [text.slice(0, text.indexOf(' ')), text.slice(text.indexOf(' ') + 1)];
    const mark = url.indexOf('?');
    const path = mark < 0 ? url : url.slice(0, mark);
    const query = new URLSearchParams(mark < 0 ? '' : url.slice(mark));
    const parsed = outcomeOf(() => parseExecPath(path), ExecletError);
    if ('error' in parsed) assert.equal(parsed.error.code, 'BadExecRequest');
    if ('error' in parsed || parsed.value === undefined) return;
    checkTarget(path, parsed.value);
    const request = outcomeOf(() => parseExecRequest(parsed.value ?? assert.fail(), method, query), ExecletError);
    if ('error' in request) {
      assert.ok(['MethodNotAllowed', 'BadExecRequest'].includes(request.error.code));
      return;
    }
    const { command, wanted, container, form } = request.value;
    assert.ok(method === 'GET' || method === 'POST');
    assert.deepEqual(command, query.getAll('command'));
    assert.notEqual(command[0], '');
    assert.ok(wanted.stdin || wanted.stdout || wanted.stderr || wanted.tty);
    assert.ok(!(wanted.tty && wanted.stderr));
    assert.equal(container ?? '', parsed.value.container ?? query.get('container') ?? '');
    const [stdin, stdout, stderr] = form === 'api' ? ['stdin', 'stdout', 'stderr'] : ['input', 'output', 'error'];
    const asked = (name: string): boolean =>
      form === 'api'
        ? !/^(0|false)?$/i.test(query.get(name) ?? 'false') || query.get(name) === ''
        : query.get(name) === '1';
    assert.deepEqual(wanted, {
      stdin: asked(stdin),
      stdout: asked(stdout),
      stderr: asked(stderr) && !asked('tty'),
      tty: asked('tty'),
    });
  },
};

/** What was read is what was sent, names no other path, and nobody else answers it. */
function checkTarget(path: string, target: ExecTarget): void {
  const { form, namespace, pod, podUid, container } = target;
  const names = [namespace, pod, podUid, container].filter(name => name !== undefined);
  for (const name of names) assert.doesNotMatch(name, /^\.{0,2}$|[/\0]/);
  const encoded = names.map(encodeURIComponent);
  const again = form === 'kubelet' ? `/exec/${encoded.join('/')}` : `/api/v1/namespaces/${encoded.join('/pods/')}/exec`;
  assert.equal(decodeURIComponent(again), decodeURIComponent(path));
  assert.equal(path.split('/').length, again.split('/').length);
  assert.equal(notServed(path), undefined);
}

/** A path that is not served says so, and is none of those that are. */
export const notServedPaths: FuzzTarget = {
  name: 'not-served',
  sources: ['kubeapi/not-served.ts'],
  tokens: [
    '/',
    'attach',
    'run',
    'containerLogs',
    'portForward',
    '/api/v1/namespaces/',
    '/pods/',
    'log',
    'proxy',
    'portforward',
    'ephemeralcontainers',
    'exec',
    '%2F',
  ],
  nearlyRight: fc
    .tuple(
      fc.constantFrom(
        '/attach',
        '/run',
        '/portForward',
        '/api/v1/namespaces/n/pods/p/log',
        '/api/v1/namespaces/n/pods/p/exec',
      ),
      fc.constantFrom('', '/', 'ed', '/x', '?'),
    )
    .map(parts => parts.join('')),
  check: input => {
    const path = input.toString('latin1');
    const why = notServed(path);
    const segments = path.split('/');
    const [empty, root = '', v1, namespaces, , pods, , call = ''] = segments;
    const kubelet = ['attach', 'containerLogs', 'portForward', 'run'].includes(root);
    const named = segments.length >= 8 && segments[4] !== '' && segments[6] !== '';
    const api = [root, v1, namespaces, pods].join(' ') === 'api v1 namespaces pods' && named;
    const expected =
      kubelet || (api && ['attach', 'ephemeralcontainers', 'log', 'portforward', 'proxy'].includes(call));
    assert.equal(why !== undefined, empty === '' && expected);
    if (why !== undefined)
      assert.match(why, /^execlet serves exec only, not (attach|debug|logs|port-forward|proxy|run)$/);
  },
};
