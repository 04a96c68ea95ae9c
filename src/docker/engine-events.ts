import type { Readable } from 'node:stream';

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
 * @throws {Error} when the stream breaks, or a line grows past 4 MiB
 */
export async function readEvents(stream: Readable, onEvent: (event: EngineEvent) => void): Promise<void> {
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    let start = 0;
    for (let newline = chunk.indexOf('\n'); newline >= 0; newline = chunk.indexOf('\n', start)) {
      const event = parseEvent(Buffer.concat([...pending, chunk.subarray(start, newline)]).toString('utf8'));
      if (event !== undefined) onEvent(event);
      pending = [];
      pendingBytes = 0;
      start = newline + 1;
    }
    pending.push(chunk.subarray(start));
    pendingBytes += chunk.length - start;
    if (pendingBytes > MAX_EVENT_BYTES)
      throw new Error(`the Engine sent an event of more than ${MAX_EVENT_BYTES} bytes`);
  }
}

/** Undefined for an event that is none of ours. */
export function parseEvent(line: string): EngineEvent | undefined {
  if (line.trim() === '') return undefined;
  const { Action: action, Actor: actor } = JSON.parse(line) as {
    Action?: string;
    Actor?: { ID?: string; Attributes?: Record<string, string | undefined> };
  };
  const containerId = actor?.ID;
  const attributes = actor?.Attributes ?? {};
  if (action === undefined || containerId === undefined) return undefined;
  switch (action) {
    case 'exec_die': {
      const { execID: execId, exitCode = '' } = attributes;
      if (execId === undefined || !/^\d{1,3}$/.test(exitCode) || Number(exitCode) > 255) return undefined;
      return { action, containerId, execId, exitCode: Number(exitCode) };
    }
    case 'die':
      return { action, containerId, exitCode: attributes.exitCode ?? 'unknown' };
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
