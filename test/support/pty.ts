import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { leaveToJanitor } from './cleanup.ts';
import { exitCodeOf, findExecutable, mustRun } from './command.ts';

const DEFAULT_TIMEOUT_MS = 15_000;

/** A terminal's size in character cells. */
export interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** A command in a real pseudo-terminal, as a person would have it: util-linux's `script` holds the other end. */
export class Terminal {
  /** The terminal's device, `/dev/pts/N`. */
  readonly device: string;
  /** The command's exit code, once it has ended and all its output is here. */
  readonly exited: Promise<number>;
  readonly #script: ChildProcessWithoutNullStreams;
  readonly #screen: Screen;

  private constructor(of: {
    device: string;
    exited: Promise<number>;
    script: ChildProcessWithoutNullStreams;
    screen: Screen;
  }) {
    this.device = of.device;
    this.exited = of.exited;
    this.#script = of.script;
    this.#screen = of.screen;
  }

  /** Resolves when the terminal has its size and the command is about to start. */
  static async open(
    command: readonly [string, ...string[]],
    { columns, rows, env = process.env }: Size & { env?: NodeJS.ProcessEnv },
  ): Promise<Terminal> {
    if ((await findExecutable('script')) === undefined) {
      throw new Error('The terminal tests need the command `script` of util-linux (Debian: bsdutils).');
    }
    const line = `stty cols ${columns} rows ${rows}; echo "device=$(tty)."; exec ${command.map(quote).join(' ')}`;
    const script = spawn('script', ['--quiet', '--return', '--flush', '--command', line, '/dev/null'], {
      env: { ...env, SHELL: '/bin/sh', TERM: 'xterm' },
      stdio: 'pipe',
    });
    const forget = script.pid === undefined ? () => undefined : leaveToJanitor({ kind: 'process', pid: script.pid });
    const screen = new Screen();
    for (const output of [script.stdout, script.stderr]) output.setEncoding('utf8').on('data', screen.add);
    script.stdin.on('error', () => undefined); // typed after the end
    const exited = once(script, 'close').then(() => {
      forget();
      screen.end();
      return exitCodeOf(script.exitCode, script.signalCode);
    });
    const [, device = ''] = await screen.expect(/device=(\S+)\.\r\n/, DEFAULT_TIMEOUT_MS).catch((cause: unknown) => {
      script.kill('SIGKILL');
      throw cause;
    });
    return new Terminal({ device, exited, script, screen });
  }

  /** Everything that was ever shown, with the terminal's `\r\n`. */
  get output(): string {
    return this.#screen.text;
  }

  /** Presses keys; Enter is `\r`, Ctrl-C is `\x03`, Ctrl-D is `\x04`. */
  type(keys: string): void {
    this.#script.stdin.write(keys);
  }

  /**
   * Waits for output that matches and was not matched before. What is typed is shown too, so the pattern should be one
   * that the command line itself does not match.
   */
  async expect(pattern: RegExp, timeoutMs = DEFAULT_TIMEOUT_MS): Promise<RegExpMatchArray> {
    return this.#screen.expect(pattern, timeoutMs);
  }

  /** Changes the size, of which the kernel tells the command by SIGWINCH. */
  async resize({ columns, rows }: Size): Promise<void> {
    await mustRun('stty', ['-F', this.device, 'cols', String(columns), 'rows', String(rows)]);
  }

  /** The terminal's modes as `stty -g` writes them, to compare before and after. */
  async modes(): Promise<string> {
    return (await mustRun('stty', ['-F', this.device, '-g'])).trim();
  }

  /** Closes the terminal as a closed window would: the command gets SIGHUP. */
  async close(): Promise<void> {
    this.#script.kill('SIGKILL');
    await this.exited;
  }
}

/** What a terminal has shown, and how far a test has read it. */
class Screen {
  text = '';
  #readTo = 0;
  #ended = false;
  readonly #changes = new EventEmitter();

  readonly add = (text: string): void => {
    this.text += text;
    this.#changes.emit('change');
  };

  end(): void {
    this.#ended = true;
    this.#changes.emit('change');
  }

  async expect(pattern: RegExp, timeoutMs: number): Promise<RegExpMatchArray> {
    const timeout = AbortSignal.timeout(timeoutMs);
    for (;;) {
      const match = this.text.slice(this.#readTo).match(pattern);
      if (match?.index !== undefined) {
        this.#readTo += match.index + match[0].length;
        return match;
      }
      if (this.#ended) throw new Error(`the command ended without showing ${pattern.source}${this.#shown()}`);
      await once(this.#changes, 'change', { signal: timeout }).catch(() => {
        throw new Error(`nothing that matches ${pattern.source} was shown within ${timeoutMs} ms${this.#shown()}`);
      });
    }
  }

  #shown(): string {
    return `; the terminal shows:\n${JSON.stringify(this.text.slice(-2000))}`;
  }
}

/** One word of a POSIX shell. */
function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
