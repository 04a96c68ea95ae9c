import type { Readable } from 'node:stream';
import { fieldsOf } from './json-fields.ts';

/** One line of the event stream holds all labels of a container; the Engine limits neither, we do. */
const MAX_EVENT_BYTES = 4 * 1024 * 1024;
const NEWLINE = 0x0a;

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
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  const lines = new LineCutter(line => {
    const event = parseEvent(line);
    if (event !== undefined) onEvent(event);
  });
  // Not an async iteration: an exit would wait for three more turns of it, and cost more than all else that is done with the event.
  const take = (chunk: Buffer): void => {
    try {
      lines.push(chunk);
    } catch (cause) {
      stream.off('data', take); // what was read with this may follow all the same
      stream.destroy();
      reject(cause);
    }
  };
  stream.on('data', take);
  stream.on('error', reject);
  stream.on('close', () => reject(new Error('the Engine closed its event stream')));
  stream.on('end', () => resolve(undefined));
  if (stream.destroyed) reject(new Error('the Engine closed its event stream'));
  await promise;
}

/** Cuts a stream into its lines. */
class LineCutter {
  readonly #onLine: (line: string) => void;
  #pending: Buffer[] = [];
  #pendingBytes = 0;

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  push(chunk: Buffer): void {
    let start = 0;
    for (let newline = chunk.indexOf(NEWLINE); newline >= 0; newline = chunk.indexOf(NEWLINE, start)) {
      checkLength(this.#pendingBytes + newline - start);
      const end = chunk.subarray(start, newline);
      const line = this.#pendingBytes === 0 ? end : Buffer.concat([...this.#pending, end]);
      this.#pending = [];
      this.#pendingBytes = 0;
      start = newline + 1;
      this.#onLine(line.toString('utf8'));
    }
    if (start === chunk.length) return;
    this.#pending.push(chunk.subarray(start));
    this.#pendingBytes += chunk.length - start;
    checkLength(this.#pendingBytes);
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
