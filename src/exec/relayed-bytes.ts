import type { ExecStreams, InputSource, OutputSink } from './connection.ts';

/** What one session has relayed so far, in bytes: of input, what the command was offered. */
export class RelayedBytes {
  stdin = 0;
  stdout = 0;
  stderr = 0;
  /** When the last of them were, by `performance.now()`; before the first, when counting began. */
  lastAt = performance.now();
  readonly #onFirstOutput: () => void;
  #hadOutput = false;

  constructor(onFirstOutput: () => void) {
    this.#onFirstOutput = onFirstOutput;
  }

  /** The same streams, counted. */
  counting(streams: ExecStreams): ExecStreams {
    const { stdin, stdout, stderr } = streams;
    return {
      ...streams,
      ...(stdin && { stdin: this.#input(stdin) }),
      ...(stdout && { stdout: this.#output(stdout, 'stdout') }),
      ...(stderr && { stderr: this.#output(stderr, 'stderr') }),
    };
  }

  #input(source: InputSource): InputSource {
    return {
      consume: consumer =>
        source.consume({
          data: chunk => {
            this.stdin += chunk.length;
            this.lastAt = performance.now();
            return consumer.data(chunk);
          },
          end: () => consumer.end(),
        }),
      resume: () => source.resume(),
      discard: () => source.discard(),
    };
  }

  #output(sink: OutputSink, name: 'stdout' | 'stderr'): OutputSink {
    return {
      write: chunk => {
        this[name] += chunk.length;
        this.lastAt = performance.now();
        if (!this.#hadOutput) {
          this.#hadOutput = true;
          this.#onFirstOutput();
        }
        return sink.write(chunk);
      },
    };
  }
}
