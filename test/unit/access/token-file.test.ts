import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { AUTHENTICATED_GROUP } from '../../../src/access/caller.ts';
import { parseTokenFile } from '../../../src/access/token-file.ts';

const GROUPS = [AUTHENTICATED_GROUP];

test("reads kube-apiserver's own example as it does", () => {
  const file = parseTokenFile(`
token1,user1,uid1
token2,user2,uid2
token3,user3,uid3,"group1,group2"
token4,user4,uid4,"group2"
token5,user5,uid5,group5
token6,user6,uid6,group5,otherdata
token7,user7,uid7,"group1,group2",otherdata
`);
  assert.equal(file.size, 7);
  assert.deepEqual(file.problems, []);
  assert.deepEqual(file.lookup('token1'), {
    name: 'user1',
    uid: 'uid1',
    groups: GROUPS,
    extra: new Map(),
    proof: 'token_file',
  });
  assert.deepEqual(file.lookup('token3')?.groups, ['group1', 'group2', ...GROUPS]);
  assert.deepEqual(file.lookup('token6')?.groups, ['group5', ...GROUPS]);
  assert.deepEqual(file.lookup('token7')?.groups, ['group1', 'group2', ...GROUPS]);
});

test('a token is known as a whole, and nothing else is', () => {
  const file = parseTokenFile('token1,a,1\n');
  for (const token of ['', 'token', 'token11', 'TOKEN1', 'token1 ', 'a', '1']) {
    assert.equal(file.lookup(token), undefined, token);
  }
});

test('quotes, CRLF and a missing end of line are as RFC 4180 has them', () => {
  const file = parseTokenFile('"to""ken","Doe, Jane","u\nid"\r\n\r\nt2,b,,"x,,x"\r\n#t3,c,2');
  assert.deepEqual(file.problems, []);
  assert.deepEqual(file.lookup('to"ken')?.name, 'Doe, Jane');
  assert.deepEqual(file.lookup('to"ken')?.uid, 'u\nid');
  assert.deepEqual(file.lookup('t2'), {
    name: 'b',
    groups: ['x', ...GROUPS],
    extra: new Map(),
    proof: 'token_file',
  });
  assert.equal(file.lookup('#t3')?.name, 'c', 'there are no comments');
  assert.deepEqual(parseTokenFile('t,a,1,g\r').lookup('t')?.groups, ['g', ...GROUPS]);
});

test('the group of the authenticated is there once', () => {
  const file = parseTokenFile(`t,a,1,"${AUTHENTICATED_GROUP},ops"`);
  assert.deepEqual(file.lookup('t')?.groups, [AUTHENTICATED_GROUP, 'ops']);
});

test('the last of equal tokens wins, and what cannot be used is skipped, both with a word of it', () => {
  const file = parseTokenFile('s3cret,a,1\n,b,2\n"with space",c,3\ns3cret,d,4\nothers3cret,,5\nfünf,e,6\n');
  assert.equal(file.size, 1);
  assert.equal(file.lookup('s3cret')?.name, 'd');
  assert.equal(file.lookup('othersecret'), undefined);
  assert.deepEqual(file.problems, [
    'line 2: the token is empty: this line is skipped',
    'line 3: the token holds a space or a character that no Authorization header can carry: this line is skipped',
    'line 4: the token stands on an earlier line too: this line wins',
    'line 5: the user name is empty: this line is skipped',
    'line 6: the token holds a space or a character that no Authorization header can carry: this line is skipped',
  ]);
});

const BROKEN: [title: string, text: string, message: string][] = [
  [
    'two columns',
    't,u,1\n\nt0psecret,user\n',
    'line 3: must have at least 3 columns (token, user name, user uid), and has 2 columns',
  ],
  ['a comment', '# t0psecret\n', 'line 1: must have at least 3 columns (token, user name, user uid), and has 1 column'],
  [
    'a line of spaces',
    't,u,1\n  \n',
    'line 2: must have at least 3 columns (token, user name, user uid), and has 1 column',
  ],
  ['an open quote', 't,"u\n\n",1\n"t0psecret,u,1\n', 'line 4: a quote is not closed'],
  ['a quote within a column', 't0p"secret,u,1', 'line 1: a quote within a column that does not begin with one'],
  ['text behind a quote', '"t0p"secret,u,1', 'line 1: text behind a closing quote'],
];
for (const [title, text, message] of BROKEN) {
  test(`refuses ${title} with its line, and none of its text`, () =>
    assert.throws(() => parseTokenFile(text), { name: 'AccessFileError', message }));
}

test('holds no token that could be printed or dumped', () => {
  const file = parseTokenFile('t0psecret,alice,1\n');
  assert.doesNotMatch(inspect(file, { depth: Infinity, showHidden: true }), /t0psecret/);
  assert.doesNotMatch(JSON.stringify(file), /t0psecret/);
});

test('knows ten thousand tokens apart', () => {
  const lines = Array.from({ length: 10_000 }, (_, index) => `token-${index},user-${index},${index}\n`);
  const file = parseTokenFile(lines.join(''));
  assert.equal(file.size, 10_000);
  for (const index of [0, 4_711, 9_999]) assert.equal(file.lookup(`token-${index}`)?.name, `user-${index}`);
  assert.equal(file.lookup('token-10000'), undefined);
});
