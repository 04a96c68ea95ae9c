import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { parseEvent, readEvents, type EngineEvent } from '../../../src/docker/engine-events.ts';

const execDie =
  '{"status":"exec_die","id":"c1","Type":"container","Action":"exec_die","Actor":{"ID":"c1","Attributes":{"execID":"e1","exitCode":"42","name":"web"}},"scope":"local","time":1}\n';
const start = '{"Type":"container","Action":"start","Actor":{"ID":"c1","Attributes":{"image":"x","name":"web"}}}\n';

async function read(chunks: readonly Buffer[]): Promise<EngineEvent[]> {
  const events: EngineEvent[] = [];
  await readEvents(Readable.from(chunks), event => events.push(event));
  return events;
}

test('reads events however the stream is cut', async () => {
  const bytes = Buffer.from(start + execDie + start);
  const expected = [
    { action: 'start', containerId: 'c1' },
    { action: 'exec_die', containerId: 'c1', execId: 'e1', exitCode: 42 },
    { action: 'start', containerId: 'c1' },
  ];
  assert.deepEqual(await read([bytes]), expected);
  assert.deepEqual(await read(Array.from(bytes, byte => Buffer.from([byte]))), expected);
});

test('nothing is read behind a line that is no event', async () => {
  const events: EngineEvent[] = [];
  const stream = new Readable({ read: () => undefined });
  const reading = readEvents(stream, event => events.push(event));
  for (const line of [start, 'nonsense\n', start]) stream.push(line);
  await assert.rejects(reading, SyntaxError);
  stream.push(start);
  assert.equal(events.length, 1);
});

test('a stream that is closed before its end is an error, also when it was before it is read', async () => {
  const stream = new Readable({ read: () => undefined });
  const reading = readEvents(stream, () => undefined);
  stream.destroy();
  await assert.rejects(reading, /closed its event stream/);
  await assert.rejects(
    readEvents(stream, () => undefined),
    /closed its event stream/,
  );
});

test('ignores what is none of ours', () => {
  assert.equal(parseEvent(''), undefined);
  assert.equal(parseEvent('{"Action":"exec_create: ls -l","Actor":{"ID":"c1"}}'), undefined);
  assert.equal(parseEvent('{"Action":"exec_die","Actor":{"ID":"c1","Attributes":{}}}'), undefined);
});

test('an exit code is believed only where it is one', () => {
  const event = (exitCode: string) =>
    parseEvent(JSON.stringify({ Action: 'exec_die', Actor: { ID: 'c1', Attributes: { execID: 'e1', exitCode } } }));
  for (const wrong of ['', ' ', '256', '-1', '1e1', '0x1', 'zero']) assert.equal(event(wrong), undefined, wrong);
  assert.deepEqual(event('255'), { action: 'exec_die', containerId: 'c1', execId: 'e1', exitCode: 255 });
});

test('a line is too long or not, however it arrives', async () => {
  const line = (bytes: number): Buffer =>
    Buffer.concat([Buffer.from(start.trim()), Buffer.alloc(bytes - start.length + 1, ' ')]);
  const whole = Buffer.concat([line(4 * 1024 * 1024), Buffer.from('\n')]);
  const tooLong = Buffer.concat([line(4 * 1024 * 1024 + 1), Buffer.from('\n')]);
  for (const at of [whole.length, 3, whole.length - 2]) {
    assert.equal((await read([whole.subarray(0, at), whole.subarray(at)])).length, 1);
    await assert.rejects(read([tooLong.subarray(0, at), tooLong.subarray(at)]), /an event of more than/);
  }
});

test('a line without end is refused, not collected', async () => {
  const endless = Array.from({ length: 6 }, () => Buffer.alloc(1024 * 1024, 'x'));
  await assert.rejects(read(endless), /an event of more than/);
});
