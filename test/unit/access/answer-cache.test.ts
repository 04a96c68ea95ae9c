import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AnswerCache, type AnswerCacheOptions, type AnswerSource } from '../../../src/access/answer-cache.ts';
import { ExecletError } from '../../../src/errors.ts';

/** A cache of yes and no with a clock of its own, and everything that it asks and reports. */
class Fixture {
  now = 1_000;
  readonly asked: string[] = [];
  readonly sources: AnswerSource[] = [];
  readonly cache: AnswerCache<string>;

  constructor(options: Partial<AnswerCacheOptions<string>> = {}) {
    this.cache = new AnswerCache({
      allows: answer => answer.startsWith('yes'),
      allowedTtlMs: 100,
      deniedTtlMs: 10,
      onAnswer: source => this.sources.push(source),
      now: () => this.now,
      ...options,
    });
  }

  ask(question: string, answer = `yes to ${question}`): Promise<string> {
    return this.cache.ask(question, () => {
      this.asked.push(question);
      return Promise.resolve(answer);
    });
  }

  /** Asks, and answers when it is told to. */
  askSlowly(question: string): {
    answer: Promise<string>;
    resolve: (text: string) => void;
    reject: (e: Error) => void;
  } {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const answer = this.cache.ask(question, () => {
      this.asked.push(question);
      return promise;
    });
    return { answer, resolve, reject };
  }
}

/** Until every promise that can go on has done so. */
const settle = (): Promise<void> => new Promise(resolve => setImmediate(resolve));

function unavailable(error: unknown): boolean {
  return error instanceof ExecletError && error.code === 'RuntimeUnavailable' && error.message.includes('try again');
}

test('an answer counts for its time, and is asked for again after it', async () => {
  const fixture = new Fixture();
  assert.equal(await fixture.ask('a'), 'yes to a');
  fixture.now += 99;
  assert.equal(await fixture.ask('a', 'yes, newer'), 'yes to a');
  fixture.now += 1;
  assert.equal(await fixture.ask('a', 'yes, newer'), 'yes, newer');
  assert.deepEqual(fixture.sources, ['allowed', 'cached', 'allowed']);
});

test('a denial has a time of its own', async () => {
  const fixture = new Fixture();
  assert.equal(await fixture.ask('a', 'no'), 'no');
  fixture.now += 9;
  assert.equal(await fixture.ask('a'), 'no');
  fixture.now += 1;
  assert.equal(await fixture.ask('a'), 'yes to a');
  assert.deepEqual(fixture.sources, ['denied', 'cached', 'allowed']);
});

test('what was allowed once and is denied now stays denied', async () => {
  const fixture = new Fixture();
  await fixture.ask('a');
  fixture.now += 100;
  assert.equal(await fixture.ask('a', 'no'), 'no');
  assert.equal(await fixture.ask('a'), 'no');
});

test('an undefined answer is remembered like any other', async () => {
  const cache = new AnswerCache<string | undefined>({
    allows: answer => answer !== undefined,
    allowedTtlMs: 10,
    deniedTtlMs: 10,
    now: () => 0,
  });
  assert.equal(await cache.ask('a', () => Promise.resolve(undefined)), undefined);
  assert.equal(await cache.ask('a', () => Promise.resolve('changed')), undefined);
});

test('the time of an answer begins when it was asked for, however long it took', async () => {
  const fixture = new Fixture();
  const slow = fixture.askSlowly('a');
  await settle();
  fixture.now += 60;
  slow.resolve('yes, slowly');
  await slow.answer;
  fixture.now += 40;
  assert.equal(await fixture.ask('a'), 'yes to a');
});

test('with a time of 0 nothing is remembered', async () => {
  const fixture = new Fixture({ allowedTtlMs: 0, deniedTtlMs: 0 });
  await fixture.ask('a');
  await fixture.ask('a', 'no');
  await fixture.ask('a');
  assert.deepEqual(fixture.asked, ['a', 'a', 'a']);
});

test('equal questions share one call', async () => {
  const fixture = new Fixture();
  const first = fixture.askSlowly('a');
  const others = [fixture.ask('a'), fixture.ask('a')];
  await settle();
  assert.deepEqual(fixture.asked, ['a']);
  first.resolve('yes, once');
  assert.deepEqual(await Promise.all([first.answer, ...others]), ['yes, once', 'yes, once', 'yes, once']);
  assert.deepEqual(fixture.sources, ['cached', 'cached', 'allowed']);
});

test('a failure reaches all who asked, and is not remembered', async () => {
  const fixture = new Fixture();
  const first = fixture.askSlowly('a');
  const outcomes = Promise.allSettled([first.answer, fixture.ask('a')]);
  first.reject(new Error('away'));
  assert.deepEqual(
    (await outcomes).map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  assert.equal(await fixture.ask('a'), 'yes to a');
  assert.deepEqual(fixture.sources, ['cached', 'error', 'allowed']);
});

test('a call that throws at once is a failure like any other, and leaves its place', async () => {
  const fixture = new Fixture({ maxUnderWay: 1 });
  const throwing = fixture.cache.ask('a', () => {
    throw new Error('at once');
  });
  await assert.rejects(throwing, /at once/);
  assert.equal(await fixture.ask('a'), 'yes to a');
});

test('the oldest answer gives way, and made-up questions push out nobody who was let in', async () => {
  const fixture = new Fixture({ maxEntries: 4 });
  await fixture.ask('known');
  for (const made of ['x', 'y', 'z']) await fixture.ask(made, 'no');
  fixture.asked.length = 0;
  for (const question of ['known', 'y', 'z', 'x']) await fixture.ask(question, 'no');
  assert.deepEqual(fixture.asked, ['x']);
  await fixture.ask('second');
  await fixture.ask('third');
  fixture.asked.length = 0;
  for (const question of ['second', 'third', 'known']) await fixture.ask(question);
  assert.deepEqual(fixture.asked, ['known']);
});

test('so many calls are under way at most; the others wait in their order', async () => {
  const fixture = new Fixture({ maxUnderWay: 2 });
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map(question => fixture.askSlowly(question));
  assert.ok(a && b && c && d);
  await settle();
  assert.deepEqual(fixture.asked, ['a', 'b']);
  b.resolve('yes');
  await settle();
  assert.deepEqual(fixture.asked, ['a', 'b', 'c']);
  a.reject(new Error('a failure leaves its place too'));
  await assert.rejects(a.answer);
  await settle();
  assert.deepEqual(fixture.asked, ['a', 'b', 'c', 'd']);
  c.resolve('yes');
  d.resolve('yes');
  await Promise.all([b.answer, c.answer, d.answer]);
});

test('one question too many is refused at once, and asks nothing', async () => {
  const fixture = new Fixture({ maxUnderWay: 1, maxWaiting: 1 });
  const first = fixture.askSlowly('a');
  const second = fixture.ask('b');
  await assert.rejects(fixture.ask('c'), unavailable);
  first.resolve('yes');
  await Promise.all([first.answer, second]);
  assert.deepEqual(fixture.asked, ['a', 'b']);
  assert.deepEqual(fixture.sources, ['error', 'allowed', 'allowed']);
});

test('whoever has waited for too long is refused, and the next one goes on', async () => {
  const fixture = new Fixture({ maxUnderWay: 1, maxWaitMs: 50 });
  const first = fixture.askSlowly('a');
  const early = fixture.ask('b');
  const refused = assert.rejects(early, unavailable);
  fixture.now += 51;
  const late = fixture.ask('c');
  first.resolve('yes');
  await refused;
  assert.equal(await late, 'yes to c');
  assert.deepEqual(fixture.asked, ['a', 'c']);
});
