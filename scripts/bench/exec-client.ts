/** What is measured: the Engine itself, or the way through execlet. */
export type Target =
  | { readonly transport: 'engine'; readonly socketPath: string; readonly containerId: string }
  | {
      readonly transport: 'spdy' | 'websocket';
      readonly protocol: string;
      readonly port: number;
      readonly tls: boolean;
    };

export interface AskedExec {
  readonly command: readonly string[];
  readonly stdin: boolean;
  readonly tty: boolean;
}

/** Told what arrives; `ended` once, with an Error unless the command's exit code was 0. */
export interface ExecListener {
  stdout(chunk: Buffer): void;
  stderr(chunk: Buffer): void;
  /** `write` may go on. */
  drained(): void;
  ended(error: Error | undefined): void;
}

/** An exec whose streams are open. */
export interface OpenExec {
  /** False: no more until `drained`. */
  write(chunk: Buffer): boolean;
  /** Closes the connection, whatever becomes of the command. */
  close(): void;
}

/** Opens execs on one target, as lean as can be: what the client costs is not what is asked. */
export interface ExecClient {
  open(asked: AskedExec, listener: ExecListener): Promise<OpenExec>;
  close(): void;
}

/** The kubelet's path of an exec in the container that every engine of the benchmark has. */
export function execPath({ command, stdin, tty }: AskedExec): string {
  const query = new URLSearchParams(command.map((argument): [string, string] => ['command', argument]));
  if (stdin) query.set('input', '1');
  query.set('output', '1');
  query.set(tty ? 'tty' : 'error', '1');
  return `/exec/default/web/app?${query.toString()}`;
}
