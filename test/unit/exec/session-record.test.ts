import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  endedLine,
  MAX_LINE_BYTES,
  refusedLine,
  startedLine,
  type SessionFields,
} from '../../../src/exec/session-record.ts';
import { CommandRedactor, parseRedactPattern } from '../../../src/exec/redaction.ts';

const AT = new Date('2026-11-26T10:20:30.456Z');
const nothingHidden = new CommandRedactor([]);

const session: SessionFields = {
  session: 's-1',
  user: 'jane',
  groups: ['dev', 'system:authenticated'],
  proof: 'front_proxy',
  proxy: 'front-proxy-client',
  remoteAddress: '10.0.0.7',
  auditId: 'a-1',
  forwardedFor: '192.0.2.1',
  namespace: 'shop',
  pod: 'web',
  podUid: 'u-1',
  container: 'app',
  containerId: 'c1',
  command: ['sh', '-c', 'ls'],
  tty: true,
  transport: 'websocket',
  protocol: 'v5.channel.k8s.io',
};
const end = { reason: 'exit', exitCode: 3, stdinBytes: 1, stdoutBytes: 2, stderrBytes: 3, durationMs: 4 } as const;

function started(fields: Partial<SessionFields>, redactor = nothingHidden): Record<string, unknown> {
  return parsed(startedLine(AT, { ...session, ...fields }, redactor));
}

function parsed(line: string): Record<string, unknown> {
  assert.ok(Buffer.byteLength(line) < MAX_LINE_BYTES, `${Buffer.byteLength(line)} bytes`);
  assert.doesNotMatch(line, /[\p{Cc}\u2028\u2029]/u);
  return JSON.parse(line) as Record<string, unknown>;
}

test('the start of a session says who, where and what', () => {
  assert.deepEqual(started({}), { time: '2026-11-26T10:20:30.456Z', event: 'session_started', ...session });
});

test('the end of a session says who, where and how, without the groups and the command', () => {
  const expected: Record<string, unknown> = {
    time: '2026-11-26T10:20:30.456Z',
    event: 'session_ended',
    ...session,
    ...end,
  };
  delete expected.groups;
  delete expected.command;
  assert.deepEqual(parsed(endedLine(AT, { ...session, ...end })), expected);
});

test('an exit code that is unknown is absent', () => {
  const record = parsed(endedLine(AT, { ...session, ...end, exitCode: undefined, reason: 'engine_gone' }));
  assert.ok(!('exitCode' in record));
});

test('a refusal says what is known of the caller, and never the query, which holds the command', () => {
  const line = refusedLine(AT, {
    remoteAddress: '10.0.0.7',
    method: 'GET',
    path: '/exec/shop/web/app?command=login&command=hunter2',
    status: 401,
    code: 'Unauthenticated',
    message: 'Unauthorized',
  });
  assert.deepEqual(parsed(line), {
    time: '2026-11-26T10:20:30.456Z',
    event: 'refused',
    remoteAddress: '10.0.0.7',
    method: 'GET',
    path: '/exec/shop/web/app',
    status: 401,
    code: 'Unauthenticated',
    message: 'Unauthorized',
  });
});

test('a long command is cut, and the record says so', () => {
  const { command, commandTruncated } = started({ command: ['echo', 'x'.repeat(20_000)] });
  assert.equal(commandTruncated, true);
  const [echo, text = ''] = command as string[];
  assert.equal(echo, 'echo');
  assert.match(text, /^x{16000,16384}…$/);
  const fits = ['echo', 'x'.repeat(16_000)];
  assert.deepEqual(started({ command: fits }).command, fits);
  assert.ok(!('commandTruncated' in started({ command: fits })));
});

test('a command that is short only since most of it is hidden is cut all the same', () => {
  const redactor = new CommandRedactor([parseRedactPattern('x+')]);
  const { command, commandTruncated } = started({ command: ['x'.repeat(20_000), 'secret'] }, redactor);
  assert.deepEqual({ command, commandTruncated }, { command: ['[redacted]'], commandTruncated: true });
});

test('a command that took the patterns too long is hidden, and the record says so', () => {
  const redactor = new CommandRedactor([parseRedactPattern('(a+)+$')]);
  const { command, redactionTimedOut } = started({ command: [`${'a'.repeat(99)}b`] }, redactor);
  assert.deepEqual({ command, redactionTimedOut }, { command: ['[redacted]'], redactionTimedOut: true });
});

test('no line is longer than 64 KiB, whatever its fields hold', () => {
  const text = fc
    .tuple(fc.constantFrom('\u0001', '"', '\u009b', '\u202e', 'é', '😀', '\ud800', 'a'), fc.nat(20_000))
    .map(([character, count]) => character.repeat(count));
  const texts = fc.oneof(
    fc.array(text, { maxLength: 5 }),
    fc.nat(40_000).map(count => Array<string>(count).fill('')),
  );
  fc.assert(
    fc.property(text, texts, (long, many) => {
      const everywhere = {
        user: long,
        proxy: long,
        remoteAddress: long,
        auditId: long,
        forwardedFor: long,
        session: long,
        namespace: long,
        pod: long,
        podUid: long,
        container: long,
        containerId: long,
        protocol: long,
        groups: many,
        command: many,
      };
      started(everywhere);
      parsed(endedLine(AT, { ...session, ...everywhere, ...end }));
      const refusal = { method: long, path: long, status: 400, code: 'BadExecRequest', message: long } as const;
      parsed(refusedLine(AT, { ...everywhere, ...refusal }));
    }),
    {
      numRuns: 30,
      examples: [1_000, 10_000, 20_000].map(count => ['\u0001'.repeat(count), ['\u0001'.repeat(count), '', '']]),
    },
  );
});

test('a cut never leaves half a character', () => {
  for (const start of ['', 'a', 'aa', 'aaa', 'é', '\u0001']) {
    const { user } = started({ user: start + '😀'.repeat(1000) });
    assert.match(user as string, /^[^😀]*(?:😀)+…$/u);
  }
});

test('half a character that was sent as such becomes U+FFFD, which every reader of JSON takes', () => {
  const { user, command } = started({ user: 'a\ud800', command: ['\udc00b'] });
  assert.deepEqual({ user, command }, { user: 'a\ufffd', command: ['\ufffdb'] });
});

test('many groups are cut, and the record says so', () => {
  const groups = Array.from({ length: 2000 }, (_, at) => `group-${at}`);
  const record = started({ groups });
  assert.equal(record.groupsTruncated, true);
  assert.deepEqual((record.groups as string[]).slice(0, 100), groups.slice(0, 100));
});

test('what a terminal could take for a command, or a reader for the end of a line, is escaped', () => {
  const user = 'a\n\u001b[2J\u007f\u009b2J\u2028\u202e';
  const line = startedLine(AT, { ...session, user }, nothingHidden);
  assert.match(line, /"user":"a\\n\\u001b\[2J\\u007f\\u009b2J\\u2028\\u202e"/);
  assert.equal(parsed(line).user, user);
});
