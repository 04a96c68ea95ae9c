import type { Target } from './exec-client.ts';

/** What the client's process is told to do; one at a time. */
export type Job =
  /** So many execs of `true`, one after the other. */
  | { readonly job: 'latency'; readonly target: Target; readonly execs: number }
  /** Execs of `true` for so long, so many at a time. */
  | { readonly job: 'rate'; readonly target: Target; readonly concurrency: number; readonly ms: number }
  | { readonly job: 'stdout'; readonly target: Target; readonly blockBytes: number; readonly blocks: number }
  | { readonly job: 'stdin'; readonly target: Target; readonly blockBytes: number; readonly blocks: number }
  /** So many keystrokes, each when the one before has come back. */
  | { readonly job: 'echo'; readonly target: Target; readonly keystrokes: number }
  /** Opens quiet sessions, until so many are open. */
  | { readonly job: 'open'; readonly target: Target; readonly sessions: number }
  | { readonly job: 'close' };

/** What it answers. */
export interface JobResult {
  /** From the first to the last byte, or exec. */
  readonly ms: number;
  /** Of each exec or keystroke. */
  readonly samples: readonly number[];
  /** Of the payload, counted at its end. */
  readonly bytes: number;
}
