import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CommandRedactor, MAX_MATCHED_UNITS, parseRedactPattern } from '../../../src/exec/redaction.ts';

function redacted(patterns: readonly string[], command: readonly string[], maxUnits = MAX_MATCHED_UNITS): unknown {
  return new CommandRedactor(patterns.map(parseRedactPattern)).redact(command, maxUnits).command;
}

test('hides what matches, and nothing else', () => {
  const script = ['sh', '-c', 'mysql -u root -phunter2 -e "select 1"; psql password=swordfish'];
  assert.deepEqual(redacted(['-p\\S+', 'password=\\S+'], script), [
    'sh',
    '-c',
    'mysql -u root [redacted] -e "select 1"; psql [redacted]',
  ]);
  assert.deepEqual(redacted(['nothing'], script), script);
  assert.deepEqual(redacted([], script), script);
});

test('a match goes on from one argument into the next', () => {
  const command = ['login', '--password', 'hunter2', '--verbose'];
  const hidden = ['login', '[redacted]', '[redacted]', '--verbose'];
  assert.deepEqual(redacted(['--password[= ]\\S+'], command), hidden);
  assert.deepEqual(redacted(['(?<=--password[= ])\\S+'], command), ['login', '--password', '[redacted]', '--verbose']);
});

test('an argument whose beginning matches is hidden whole: a secret may have a space in it', () => {
  const command = ['login', '--password', 'correct horse', '--verbose'];
  const shown = JSON.stringify(redacted(['--password \\S+'], command));
  assert.doesNotMatch(shown, /correct|horse/);
  assert.doesNotMatch(JSON.stringify(redacted(['(?<=--password )\\S+'], command)), /correct|horse/);
  assert.match(shown, /"login".*"--verbose"/);
});

test('each pattern sees the original, so their order does not matter', () => {
  const command = ['curl', '-H', 'X: token=abc key=def'];
  const patterns = ['token=\\S+ key', 'key=\\S+'];
  assert.deepEqual(redacted(patterns, command), ['curl', '-H', 'X: [redacted]']);
  assert.deepEqual(redacted(patterns.toReversed(), command), ['curl', '-H', 'X: [redacted]']);
});

test('whatever matches is not shown, however the text is cut into arguments', () => {
  const word = fc.string({ unit: fc.constantFrom('a', ' ', 'S', '1', '='), maxLength: 6 });
  fc.assert(
    fc.property(fc.array(word, { maxLength: 12 }), command => {
      const shown = new CommandRedactor([parseRedactPattern('S'), parseRedactPattern('=.')]).redact(command, 1000);
      assert.equal(shown.command.length, command.length);
      assert.ok(!shown.command.some(argument => argument.includes('S')));
      // What is shown stands in the argument, in this order, around what is hidden.
      for (const [at, argument] of shown.command.entries()) {
        let from = 0;
        for (const part of argument.split('[redacted]')) {
          const found = (command[at] ?? '').indexOf(part, from);
          assert.ok(found >= 0, `${argument} for ${command[at] ?? ''}`);
          from = found + part.length;
        }
      }
    }),
  );
});

test('a secret across the cut is recognised by what is behind the cut', () => {
  const command = ['echo', `KEY${'x'.repeat(100)}END`, 'more'];
  const redactor = new CommandRedactor([parseRedactPattern('KEY.*END')]);
  assert.deepEqual(redactor.redact(command, 20), { command: ['echo', '[redacted]'], cut: true, timedOut: false });
});

test('nothing beyond the kept units is shown, not even where hiding made room for it', () => {
  const redactor = new CommandRedactor([parseRedactPattern('x+')]);
  const { command, cut } = redactor.redact(['x'.repeat(50), 'y'.repeat(50)], 60);
  assert.deepEqual(command, ['[redacted]', 'y'.repeat(9)]);
  assert.equal(cut, true);
});

test('a pattern that backtracks without end is interrupted, and hides all of the command', () => {
  const redactor = new CommandRedactor([parseRedactPattern('(a+)+$')]);
  const endless = ['sh', '-c', `${'a'.repeat(100)}b`];
  assert.deepEqual(redactor.redact(endless, 1000), { command: ['[redacted]'], cut: false, timedOut: true });
  assert.deepEqual(redactor.redact(['b'], 1000), { command: ['b'], cut: false, timedOut: false });
});

test('a pattern that matches nothing at every place hides nothing', () => {
  assert.deepEqual(redacted(['x*'], ['abxcd', '']), ['ab[redacted]cd', '']);
});

test('what is no pattern is refused in one line that does not repeat it', () => {
  assert.throws(() => parseRedactPattern('hunter2('), { message: 'not a regular expression: Unterminated group' });
  assert.throws(() => parseRedactPattern(''), { message: 'an empty pattern hides nothing' });
  try {
    parseRedactPattern('hunter2(');
  } catch (error) {
    assert.equal((error as Error).cause, undefined);
  }
});

test('a pattern can say that case does not count', () => {
  assert.deepEqual(redacted(['(?i:password)=\\S+'], ['a PASSWORD=x']), ['a [redacted]']);
});
