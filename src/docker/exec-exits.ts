/** Where the exit codes of running execs arrive: the Engine's `exec_die` events, by exec id. */
export class ExecExits {
  readonly #waiting = new Map<string, { containerId: string; resolve: (exitCode: number) => void }>();

  /** Registers the exec. Do so before it is started, so that no event can be missed; dispose of it when its session ends. */
  expect(execId: string, containerId: string): ExpectedExit {
    const { promise, resolve } = Promise.withResolvers<number>();
    this.#waiting.set(execId, { containerId, resolve });
    return { exitCode: promise, dispose: () => this.#waiting.delete(execId) };
  }

  /**
   * An `exec_die` event. Execs that nobody here expects are other clients' business; one that names another container than
   * the exec was created in is somebody's label, not the Engine's word.
   */
  settle(execId: string, containerId: string, exitCode: number): void {
    const waiting = this.#waiting.get(execId);
    if (waiting?.containerId === containerId) waiting.resolve(exitCode);
  }
}

export interface ExpectedExit {
  /** Stays pending where no event comes: the command never started, or the event stream was interrupted. */
  readonly exitCode: Promise<number>;
  dispose(): void;
}
