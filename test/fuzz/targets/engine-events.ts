import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { readEvents, type EngineEvent } from '../../../src/docker/engine-events.ts';
import { splitsOf, type FuzzTarget } from '../target.ts';

const ACTIONS = ['exec_die', 'die', 'start', 'rename', 'pause', 'unpause', 'destroy'];

async function read(chunks: readonly Buffer[]): Promise<{ events: EngineEvent[]; error?: string }> {
  const events: EngineEvent[] = [];
  try {
    await readEvents(Readable.from(chunks), event => events.push(event));
    return { events };
  } catch (error) {
    if (error instanceof SyntaxError) return { events, error: error.message };
    throw error;
  }
}

function checkEvent(event: EngineEvent): void {
  assert.ok(ACTIONS.includes(event.action));
  assert.equal(typeof event.containerId, 'string');
  if (event.action === 'die') assert.equal(typeof event.exitCode, 'string');
  if (event.action !== 'exec_die') return;
  assert.equal(typeof event.execId, 'string');
  assert.ok(Number.isInteger(event.exitCode) && event.exitCode >= 0 && event.exitCode <= 255);
}

/** Any bytes give events, or a SyntaxError for what is no JSON, and the same however they are cut. */
export const engineEvents: FuzzTarget = {
  name: 'engine-events',
  sources: ['docker/engine-events.ts'],
  tokens: [
    ...ACTIONS.map(
      action => `{"Action":"${action}","Actor":{"ID":"c1","Attributes":{"execID":"e1","exitCode":"42"}}}\n`,
    ),
    ...[
      '\n',
      'null',
      '{}',
      '[]',
      '"Action":',
      '"Actor":',
      '"ID":',
      '"Attributes":',
      '"execID":',
      '"exitCode":',
      '"256"',
    ],
  ],
  nearlyRight: fc
    .array(
      fc.record(
        {
          Action: fc.oneof(fc.constantFrom(...ACTIONS), fc.jsonValue({ maxDepth: 1 })),
          Actor: fc.oneof(
            fc.record({
              ID: fc.oneof(fc.string(), fc.jsonValue({ maxDepth: 1 })),
              Attributes: fc.oneof(
                fc.record(
                  {
                    execID: fc.oneof(fc.string(), fc.jsonValue({ maxDepth: 1 })),
                    exitCode: fc.oneof(fc.nat({ max: 300 }).map(String), fc.jsonValue({ maxDepth: 1 })),
                  },
                  { requiredKeys: [] },
                ),
                fc.jsonValue({ maxDepth: 1 }),
              ),
            }),
            fc.jsonValue({ maxDepth: 1 }),
          ),
        },
        { requiredKeys: [] },
      ),
      { maxLength: 4 },
    )
    .map(events => events.map(event => `${JSON.stringify(event)}\n`).join('')),
  check: async input => {
    const whole = await read([input]);
    whole.events.forEach(checkEvent);
    for (const chunks of splitsOf(input).slice(1)) assert.deepEqual(await read(chunks), whole);
  },
};
