import type { Writable } from 'node:stream';
import { ClientError } from './client-error.ts';

/** What a shell says of a program that wrote into a closed pipe: 128 + SIGPIPE. */
const EXIT_BROKEN_PIPE = 141;

/** Where text or a command's output leaves this process: a stream that may be slow, and may break. */
export class Output {
  readonly #stream: Writable;
  readonly #failure = Promise.withResolvers<never>();

  constructor(stream: Writable, onDrain: () => void = () => undefined) {
    this.#stream = stream;
    this.#failure.promise.catch(() => undefined); // it may break when nobody waits any more: a late EPIPE is no crash
    stream.on('drain', onDrain);
    // Never taken off again, for the same reason.
    stream.on('error', error => this.#failure.reject(asFailure(error)));
  }

  /** Rejects with a ClientError when the stream takes no more: a quiet one for EPIPE, of which other programs die by signal. */
  get failed(): Promise<never> {
    return this.#failure.promise;
  }

  /** The stream holds more than it wants to: write no more until `onDrain` is called. */
  get full(): boolean {
    return this.#stream.writableNeedDrain;
  }

  write(chunk: Buffer | string): void {
    this.#stream.write(chunk);
  }

  /** Resolves when the operating system has taken everything that was written; rejects as `failed` does. */
  async flush(): Promise<void> {
    const written = new Promise<void>((resolve, reject) => {
      this.#stream.write('', error => (error ? reject(asFailure(error)) : resolve()));
    });
    await Promise.race([written, this.failed]);
  }
}

/** Of the streams that are printed on, which is done again and again: the listeners of an Output stay. */
const printed = new WeakMap<Writable, Output>();

/** Writes text and waits until it has left the process. */
export async function print(text: string, stream: Writable = process.stdout): Promise<void> {
  const output = printed.get(stream) ?? new Output(stream);
  printed.set(stream, output);
  output.write(text);
  await output.flush();
}

function asFailure(error: Error): ClientError {
  if ('code' in error && error.code === 'EPIPE') return new ClientError('', { exitCode: EXIT_BROKEN_PIPE });
  return new ClientError(`writing the output: ${error.message}`, { cause: error });
}
