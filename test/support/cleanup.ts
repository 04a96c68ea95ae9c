import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';

const leftover = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('process'), pid: z.int() }),
  z.object({ kind: z.literal('network'), namespace: z.string() }),
  z.object({ kind: z.literal('directory'), path: z.string() }),
  z.object({ kind: z.literal('dockerd'), directory: z.string() }),
  z.object({ kind: z.literal('labelled'), dockerHost: z.string(), label: z.string() }),
]);

/** What the janitor reads, one JSON object a line. */
export const janitorMessage = z.union([z.object({ remember: z.int(), leftover }), z.object({ forget: z.int() })]);

/** Something that must not outlive the test process. */
export type Leftover = z.infer<typeof leftover>;
type JanitorMessage = z.infer<typeof janitorMessage>;

let janitor: ((message: JanitorMessage) => void) | undefined;
let lastId = 0;

/**
 * Has the leftover taken away when this process ends, however it ends: also by Ctrl-C, an uncaught error or SIGKILL. The
 * returned function takes that back, for what has been removed in the ordinary way.
 *
 * A second process does it, one for each test process, since a killed process can clean up nothing itself.
 */
export function leaveToJanitor(what: Leftover): () => void {
  janitor ??= startJanitor();
  const tell = janitor;
  const id = ++lastId;
  tell({ remember: id, leftover: what });
  return () => tell({ forget: id });
}

/** A fresh directory under the system's temporary one, gone when the test process ends at the latest. */
export async function temporaryDirectory(name: string): Promise<{ path: string; remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), `execlet-${name}-`));
  const forget = leaveToJanitor({ kind: 'directory', path });
  return {
    path,
    remove: async () => {
      await rm(path, { recursive: true, force: true });
      forget();
    },
  };
}

function startJanitor(): (message: JanitorMessage) => void {
  // Detached, so that a Ctrl-C at the terminal does not end it together with us; it ends by itself right after us. It
  // shares our stderr, so that a test run is not over before everything is clean.
  const child = spawn(process.execPath, [join(import.meta.dirname, 'janitor.ts')], {
    detached: true,
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  child.unref();
  // The pipe is what tells it of our end, and must not itself keep us alive.
  if (child.stdin instanceof Socket) child.stdin.unref();
  return message => void child.stdin.write(`${JSON.stringify(message)}\n`);
}
