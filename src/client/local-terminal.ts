import { spawnSync } from 'node:child_process';
import type { ReadStream, WriteStream } from 'node:tty';

/** A terminal's size in character cells. */
export interface TerminalSize {
  readonly width: number;
  readonly height: number;
}

type TerminalInput = ReadStream & { readonly fd: number };

/** The signals that end a process and leave it time to put the terminal back. */
const ENDING_SIGNALS = ['SIGHUP', 'SIGINT', 'SIGTERM'] as const;

/**
 * The terminal that this process runs in, handed over to the remote command.
 *
 * In raw mode every key, Ctrl-C included, goes to the command. It is left again whatever ends this process, short of SIGKILL:
 * a terminal left raw shows nothing that is typed.
 */
export class LocalTerminal {
  readonly #input: TerminalInput;
  readonly #output: WriteStream | undefined;
  #onResize: (() => void) | undefined;

  /** `output` tells the size, where the output is a terminal too; else the command is told none, as with kubectl. */
  constructor({ input, output }: { input: TerminalInput; output?: WriteStream | undefined }) {
    this.#input = input;
    this.#output = output;
  }

  /** Enters raw mode; calls back with the size at once, and with each new one. */
  start(onSize: (size: TerminalSize) => void): void {
    process.on('exit', this.stop);
    for (const signal of ENDING_SIGNALS) process.on(signal, this.#onSignal);
    this.#input.setRawMode(true);
    // Node's raw mode still turns a line feed into a carriage return and a line feed, but for the programs at the other end it
    // moves the cursor straight down. Leaving raw mode puts this back too. Without stty full-screen programs look wrong, no more.
    spawnSync('stty', ['-opost'], { stdio: [this.#input.fd, 'ignore', 'ignore'] });
    const output = this.#output;
    if (output === undefined) return;
    this.#onResize = () => {
      // A terminal that does not know its size says 0.
      if (output.columns > 0 && output.rows > 0) onSize({ width: output.columns, height: output.rows });
    };
    output.on('resize', this.#onResize);
    this.#onResize();
  }

  /** Puts the terminal back. Idempotent. */
  readonly stop = (): void => {
    process.off('exit', this.stop);
    for (const signal of ENDING_SIGNALS) process.off(signal, this.#onSignal);
    if (this.#onResize !== undefined) this.#output?.off('resize', this.#onResize);
    if (this.#input.isRaw) this.#input.setRawMode(false);
  };

  readonly #onSignal = (signal: NodeJS.Signals): void => {
    this.stop();
    process.kill(process.pid, signal); // with our listener gone it does what it always does
  };
}
