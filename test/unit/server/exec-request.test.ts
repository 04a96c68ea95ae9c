import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseExecPath, parseExecRequest, type ExecRequest } from '../../../src/server/exec-request.ts';

function parse(url: string, method = 'POST'): ExecRequest {
  const [pathname = '', query = ''] = url.split('?');
  const searchParams = new URLSearchParams(query);
  const target = parseExecPath(pathname);
  assert.ok(target !== undefined, `no exec path: ${pathname}`);
  return parseExecRequest(target, method, searchParams);
}

test("the kubelet's form, with and without a UID", () => {
  assert.deepEqual(parse('/exec/ns/pod/c?command=ls&command=-a&input=1&output=1&error=1'), {
    form: 'kubelet',
    namespace: 'ns',
    pod: 'pod',
    container: 'c',
    command: ['ls', '-a'],
    wanted: { stdin: true, stdout: true, stderr: true, tty: false },
  });
  const { podUid, container } = parse('/exec/ns/pod/uid-1/c?command=ls&output=1');
  assert.deepEqual({ podUid, container }, { podUid: 'uid-1', container: 'c' });
});

test('of an environment only the audit id is taken, once and whole', () => {
  const path = '/exec/ns/pod/c?command=ls&output=1';
  assert.equal(parse(path).auditId, undefined);
  assert.equal(parse(`${path}&env=KUBERNETES_EXEC_AUDIT_ID=a-1=b`).auditId, 'a-1=b');
  for (const env of [
    'PATH=/tmp',
    'KUBERNETES_EXEC_AUDIT_ID',
    'KUBERNETES_EXEC_AUDIT_ID=',
    'kubernetes_exec_audit_id=a',
    'KUBERNETES_EXEC_AUDIT_ID=a%20b',
    'KUBERNETES_EXEC_AUDIT_ID=a%0Ab',
    `KUBERNETES_EXEC_AUDIT_ID=${'a'.repeat(257)}`,
    'KUBERNETES_EXEC_AUDIT_ID=a&env=PATH=/tmp',
    '',
  ]) {
    assert.throws(() => parse(`${path}&env=${env}`), { code: 'BadExecRequest' }, env);
  }
});

test("the API server's form, with and without a container", () => {
  const path = '/api/v1/namespaces/ns/pods/pod/exec?command=ls&stdout=true';
  assert.deepEqual(parse(path, 'GET'), {
    form: 'api',
    namespace: 'ns',
    pod: 'pod',
    command: ['ls'],
    wanted: { stdin: false, stdout: true, stderr: false, tty: false },
  });
  assert.equal(parse(`${path}&container=c`).container, 'c');
});

test('true is the exact 1 for the kubelet, and anything but 0 and false for the API server', () => {
  const kubelet = (value: string): boolean => parse(`/exec/n/p/c?command=x&error=1&output=${value}`).wanted.stdout;
  assert.deepEqual(['1', 'true', '0', ''].map(kubelet), [true, false, false, false]);
  const api = (value: string): boolean =>
    parse(`/api/v1/namespaces/n/pods/p/exec?command=x&stderr=1&stdout=${value}`).wanted.stdout;
  assert.deepEqual(['true', '1', '', 'yes', '0', 'false', 'FALSE'].map(api), [
    true,
    true,
    true,
    true,
    false,
    false,
    false,
  ]);
});

test('a terminal has no stderr of its own', () => {
  assert.deepEqual(parse('/exec/n/p/c?command=x&input=1&output=1&error=1&tty=1').wanted, {
    stdin: true,
    stdout: true,
    stderr: false,
    tty: true,
  });
});

test('arguments arrive as they were sent: spaces, plus signs, empty, unicode, 20 000 characters', () => {
  const command = ['echo', 'a b', 'c+d&e=f', '', 'ü✓', 'x'.repeat(20_000)];
  const query = new URLSearchParams(command.map((argument): [string, string] => ['command', argument]));
  assert.deepEqual(parse(`/exec/n/p/c?output=1&${query.toString()}`).command, command);
});

test('refuses a request without a stream, without a command, or with another method', () => {
  assert.throws(() => parse('/exec/n/p/c?command=ls'), {
    httpStatus: 400,
    message: 'you must specify at least 1 of stdin, stdout, stderr',
  });
  assert.throws(() => parse('/exec/n/p/c?output=1'), { httpStatus: 400, message: /at least one command/ });
  assert.throws(() => parse('/exec/n/p/c?command=ls&output=1', 'PUT'), { httpStatus: 405 });
});

test('a path is taken as it was sent, so that a filter in front sees what is acted on', () => {
  for (const path of [
    '//x/exec/n/p/c',
    'http://evil/exec/n/p/c',
    '/exec/x/../n/p/c',
    '/exec/n/%2e%2e/c',
    '/exec/n/./c',
    '/%65xec/n/p/c',
    '/exec/n/p/a%2Fb',
    '/exec/n/p/a%00b',
    '/api/v1/namespaces/%2e/pods/p/exec',
    '/api/v1/namespaces/n/p%6fds/p/exec',
  ]) {
    assert.equal(parseExecPath(path), undefined, path);
  }
});

test('any other path is no exec', () => {
  for (const path of [
    '/exec',
    '/exec/n/p',
    '/exec/n//c',
    '/exec/n/p/u/c/x',
    '/api/v1/namespaces/n/pods/p',
    '/api/v1/namespaces/n/pods/p/log',
    '/',
  ]) {
    assert.equal(parseExecPath(path), undefined, path);
  }
  assert.throws(() => parseExecPath('/exec/n/p/%zz'), { httpStatus: 400 });
});
