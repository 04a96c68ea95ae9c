import type { ExecStreams, InputSource, OutputSink } from './connection.ts';

/** What one session has relayed so far, in bytes: of input, what the command was offered. */
export class RelayedBytes {
  stdin = 0;
  stdout = 0;
  stderr = 0;

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
        return sink.write(chunk);
      },
    };
  }
}
