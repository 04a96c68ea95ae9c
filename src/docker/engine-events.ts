import type { Readable } from 'node:stream';
import { fieldsOf } from './json-fields.ts';

/** One line of the event stream holds all labels of a container; the Engine limits neither, we do. */
const MAX_EVENT_BYTES = 4 * 1024 * 1024;

/** A container event, reduced to what execlet uses. */
export type EngineEvent =
  | { readonly action: 'exec_die'; readonly containerId: string; readonly execId: string; readonly exitCode: number }
  | { readonly action: 'start' | 'rename' | 'pause' | 'unpause' | 'destroy'; readonly containerId: string }
  | { readonly action: 'die'; readonly containerId: string; readonly exitCode: string };

/**
 * Reads the Engine's event stream, JSON objects one a line, until it ends.
 *
 * @throws {Error} when the stream breaks, or a line grows past 4 MiB or is no JSON
 */
export async function readEvents(stream: Readable, onEvent: (event: EngineEvent) => void): Promise<void> {
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    let start = 0;
    for (let newline = chunk.indexOf('\n'); newline >= 0; newline = chunk.indexOf('\n', start)) {
      checkLength(pendingBytes + newline - start);
      const event = parseEvent(Buffer.concat([...pending, chunk.subarray(start, newline)]).toString('utf8'));
      if (event !== undefined) onEvent(event);
      pending = [];
      pendingBytes = 0;
      start = newline + 1;
    }
    pending.push(chunk.subarray(start));
    pendingBytes += chunk.length - start;
    checkLength(pendingBytes);
  }
}

function checkLength(bytes: number): void {
  if (bytes > MAX_EVENT_BYTES) throw new Error(`the Engine sent an event of more than ${MAX_EVENT_BYTES} bytes`);
}

/**
 * Undefined for an event that is none of ours, or not of the form that the Engine gives them.
 *
 * @throws {SyntaxError} for a line that is no JSON
 */
export function parseEvent(line: string): EngineEvent | undefined {
  if (line.trim() === '') return undefined;
  const { Action: action, Actor: actor } = fieldsOf(JSON.parse(line));
  const { ID: containerId, Attributes: attributes } = fieldsOf(actor);
  if (typeof containerId !== 'string') return undefined;
  switch (action) {
    case 'exec_die': {
      const { execID: execId, exitCode } = fieldsOf(attributes);
      if (typeof execId !== 'string' || typeof exitCode !== 'string') return undefined;
      if (!/^\d{1,3}$/.test(exitCode) || Number(exitCode) > 255) return undefined;
      return { action, containerId, execId, exitCode: Number(exitCode) };
    }
    case 'die': {
      const { exitCode } = fieldsOf(attributes);
      return { action, containerId, exitCode: typeof exitCode === 'string' ? exitCode : 'unknown' };
    }
    case 'start':
    case 'rename':
    case 'pause':
    case 'unpause':
    case 'destroy':
      return { action, containerId };
    default:
      return undefined;
  }
}
