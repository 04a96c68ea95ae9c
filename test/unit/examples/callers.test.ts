import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTokenFile } from '../../../examples/apiserver-proxy/callers.ts';

test('a token file: quotes where they are needed, groups in one column', () => {
  const read = parseTokenFile('a,alice,1\r\nb,bob,2,"dev,ops"\n"c""d","x,y",3,dev,more\n');
  assert.deepEqual(
    read.map(([token, { user, groups }]) => [token, user, groups]),
    [
      ['a', 'alice', ['system:authenticated']],
      ['b', 'bob', ['dev', 'ops', 'system:authenticated']],
      ['c"d', 'x,y', ['dev', 'system:authenticated']],
    ],
  );
});

for (const line of [
  's3cr"et,alice,1001,dev',
  'a,"al"ice,1,dev,x',
  'a,alice,1,"dev,ops',
  '"a,alice,1',
  'a,alice',
  ',b,1',
]) {
  test(`a line of a token file that is none is refused, and none of its columns becomes a token: ${line}`, () => {
    assert.throws(() => parseTokenFile(`good,bob,1\n${line}\n`), /^Error: token file: line 2 is no token$/);
  });
}
