import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ContainerEnd } from '../../../src/exec/container-end.ts';
import { SessionEnded } from '../../../src/exec/end-reason.ts';

const STOPPED = new SessionEnded('container_gone', 'container app stopped');

test('everybody who listens hears of the end, once and with its first reason', () => {
  const end = new ContainerEnd();
  const heard: string[] = [];
  end.listen(({ message }) => heard.push(`a: ${message}`));
  end.listen(({ message }) => heard.push(`b: ${message}`));
  assert.deepEqual([end.reason, end.listeners], [undefined, 2]);
  end.came(STOPPED);
  end.came(new SessionEnded('container_gone', 'container app was removed'));
  assert.deepEqual(heard, ['a: container app stopped', 'b: container app stopped']);
  assert.deepEqual([end.reason, end.listeners], [STOPPED, 0]);
});

test('who listens after the end hears of it at once', () => {
  const end = new ContainerEnd();
  end.came(STOPPED);
  let heard: SessionEnded | undefined;
  end.listen(reason => (heard = reason));
  assert.deepEqual([heard, end.listeners], [STOPPED, 0]);
});

test('who listens no longer hears nothing', () => {
  const end = new ContainerEnd();
  const listenNoLonger = end.listen(() => assert.fail());
  listenNoLonger();
  assert.equal(end.listeners, 0);
  end.came(STOPPED);
});

test('a listener that takes others away is no trouble to the rest', () => {
  const end = new ContainerEnd();
  let heard = 0;
  const takeAway = end.listen(() => takeAway());
  end.listen(() => (heard += 1));
  end.came(STOPPED);
  assert.equal(heard, 1);
});
