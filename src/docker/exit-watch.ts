import { setTimeout as delay } from 'node:timers/promises';
import type { Engine } from './engine.ts';
import { HostProcess } from './host-process.ts';

/** A look into /proc costs microseconds; this bounds how long a finished command keeps the Engine from its container's other execs. */
const PROC_INTERVAL_MS = 200;
/** The Engine runs `ps` for its answer. */
const TOP_INTERVAL_MS = 500;
/** A client that has kept up for so long is not slow any more. */
const KEPT_UP_MS = 1_000;
/** The reason of what an exec aborts at its end. The one that an AbortSignal would make by itself costs more than all the rest of it. */
export const EXEC_OVER = new Error('the exec is over');

export interface ExitWatchOptions {
  readonly engine: Pick<Engine, 'inspectExec' | 'listPids' | 'local'>;
  readonly execId: string;
  readonly containerId: string;
  /** Called at most once, when the command is seen to have exited; perhaps just after `stop`. */
  readonly onExit: () => void;
  /** The exit cannot be seen, neither in /proc nor through the Engine. Called whenever that begins. */
  readonly onBlind: (cause: unknown) => void;
}

/**
 * Learns of a command's exit while its output is held back for a slow client.
 *
 * Once a command has exited the Engine drops what nobody reads within 2 s, and tells of the exit only after that (20.10 to 28).
 * So from the first `hold` until the client has kept up for a second the command's process is looked at: in /proc where the
 * Engine's pids are seen here, else in the Engine's list of the container's processes. A client that is never slow costs one
 * inspection, and none at all where its output is small.
 */
export class ExitWatch {
  readonly #options: ExitWatchOptions;
  readonly #over = new AbortController();
  #command: Promise<Command | undefined> | undefined;
  #watching = false;
  #held = false;
  #caughtUpAt = 0;
  #aliveAt = 0;
  #blind = false;

  constructor(options: ExitWatchOptions) {
    this.#options = options;
  }

  /**
   * Finds the command's process. To be called while the output still flows: the Engine (28) answers no inspection of a finished
   * command whose output is held back.
   */
  prepare(): void {
    this.#command ??= this.#find().catch((cause: unknown) => {
      this.#command = undefined; // asked again when it is needed
      this.#lostSight(cause);
      return undefined;
    });
  }

  /** The client is full, and the Engine's output held back. */
  hold(): void {
    this.#held = true;
    if (this.#watching || this.#over.signal.aborted) return;
    this.#watching = true;
    this.#aliveAt = performance.now();
    void this.#watch();
  }

  /** The client has taken everything. */
  caughtUp(): void {
    this.#held = false;
    this.#caughtUpAt = performance.now();
  }

  /** How long ago the command may have exited at the most, in milliseconds; 0 while the client keeps up. */
  get unseenMs(): number {
    return this.#watching ? performance.now() - this.#aliveAt : 0;
  }

  stop(): void {
    this.#over.abort(EXEC_OVER);
  }

  async #watch(): Promise<void> {
    const { signal } = this.#over;
    while (!signal.aborted && (this.#held || performance.now() - this.#caughtUpAt < KEPT_UP_MS)) {
      const askedAt = performance.now();
      this.prepare();
      const command = await this.#command;
      const exited = await command?.exited().catch((cause: unknown) => this.#lostSight(cause));
      if (exited === true) {
        this.#options.onExit();
        return; // and `unseenMs` goes on, since it tells how late this was
      }
      if (exited === false) {
        this.#aliveAt = askedAt;
        this.#blind = false;
      }
      await delay(command?.intervalMs ?? PROC_INTERVAL_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
    this.#watching = false;
  }

  /** Undefined until the runtime has started the command. */
  async #find(): Promise<Command | undefined> {
    const { engine, execId, containerId } = this.#options;
    const { signal } = this.#over;
    const { running, pid } = await engine.inspectExec(execId, signal);
    if (!running) return { intervalMs: 0, exited: () => Promise.resolve(true) };
    if (pid === 0) {
      this.#command = undefined;
      return undefined;
    }
    const process = engine.local ? HostProcess.find(pid, containerId) : undefined;
    if (process !== undefined) {
      return { intervalMs: PROC_INTERVAL_MS, exited: () => new Promise(resolve => resolve(process.exited)) };
    }
    // Of another pid namespace, of another host, or gone since: the Engine's list tells.
    const exited = async (): Promise<boolean> => !(await engine.listPids(containerId, signal)).includes(pid);
    return { intervalMs: TOP_INTERVAL_MS, exited };
  }

  #lostSight(cause: unknown): undefined {
    if (!this.#blind && !this.#over.signal.aborted) this.#options.onBlind(cause);
    this.#blind = true;
  }
}

/** The command's process, as far as it can be seen. */
interface Command {
  readonly intervalMs: number;
  exited(): Promise<boolean>;
}
