import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CommandGlob, Glob } from '../../../src/access/glob.ts';

test('a glob matches the whole text, with * for any run and ? for one character', () => {
  const cases: [pattern: string, matches: string[], others: string[]][] = [
    ['web', ['web'], ['', 'Web', 'web-1', 'a-web', 'we']],
    ['*', ['', 'a', 'anything at all'], []],
    ['web-*', ['web-', 'web-1', 'web-*'], ['web', 'aweb-1']],
    ['*-ci', ['-ci', 'a-ci', '-ci-ci'], ['ci', '-ci-']],
    ['a*b*c', ['abc', 'a-b-b-c', 'abbcc'], ['acb', 'ab', 'abcd']],
    ['?', ['a', '?'], ['', 'ab']],
    ['a?*', ['ab', 'abc'], ['a', 'b']],
    ['a**b', ['ab', 'axb'], ['a']],
    ['a.c[x]+', ['a.c[x]+'], ['abc[x]+', 'a.cx']],
    ['a*\n', ['a\n', 'ab\n'], ['a']],
  ];
  for (const [pattern, matches, others] of cases) {
    for (const text of matches) assert.equal(new Glob(pattern).matches(text), true, `${pattern} ${text}`);
    for (const text of others) assert.equal(new Glob(pattern).matches(text), false, `${pattern} ${text}`);
  }
});

const matches = (pattern: string, ...command: string[]): boolean => new CommandGlob(pattern).matches(command);

test('a command pattern has one glob for each argument', () => {
  assert.ok(matches('cat /var/log/*', 'cat', '/var/log/syslog'));
  assert.ok(!matches('cat /var/log/*', 'cat', '/var/log/syslog', '/etc/shadow'));
  assert.ok(!matches('cat /var/log/*', 'cat'));
  assert.ok(!matches('cat', 'cat', ''));
  assert.ok(!matches('cat'));
});

test('a star that is a word stands for any arguments, none included', () => {
  for (const command of [['ls'], ['ls', '-l'], ['ls', '-l', '/tmp', '']]) assert.ok(matches('ls *', ...command));
  assert.ok(matches('* --dry-run *', 'kubectl', 'apply', '--dry-run'));
  assert.ok(matches('a * b * c', 'a', 'b', 'x', 'b', 'c', 'c'));
  assert.ok(!matches('a * b * c', 'a', 'c', 'b'));
  assert.ok(!matches('ls *', 'lsof'));
});

test('white space in an argument is never the end of it', () => {
  assert.ok(!matches('rm /tmp/x', 'rm /tmp/x'));
  assert.ok(!matches('ls -l', 'ls', '-l\n'));
  assert.ok(!matches('echo a b', 'echo', 'a b'));
  assert.ok(matches('cat /var/log/*', 'cat', '/var/log/my file\n'));
});

test('a command of more than 16 384 characters matches nothing', () => {
  assert.ok(matches('echo *', 'echo', 'x'.repeat(16_000)));
  assert.ok(!matches('echo *', 'echo', 'x'.repeat(17_000)));
  assert.ok(!matches('echo *', 'echo', ...Array.from({ length: 9_000 }, () => 'x')));
});

test('what nearly matches at every place costs no more than pattern times text', () => {
  const words = [...Array.from({ length: 60 }, () => '* a'), '* b'].join(' ');
  const command = Array.from({ length: 2_000 }, () => 'a');
  let looks = 0;
  const watched = new Proxy(command, {
    get: (target, key): unknown => {
      if (/^\d+$/.test(String(key))) looks += 1;
      return Reflect.get(target, key);
    },
  });
  assert.equal(new CommandGlob(words).matches(watched), false);
  assert.ok(looks > command.length && looks <= 2 * words.split(' ').length * command.length, String(looks));
});
