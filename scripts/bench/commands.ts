// What is run in the container. A busybox and the stand-in Engine know all of them.

export const TRUE: readonly string[] = ['true'];
/** Echoes each byte as it comes; to be run on a terminal. */
export const ECHO: readonly string[] = ['sh', '-c', 'stty raw -echo; exec cat'];
/** Reads nothing, writes nothing. */
export const QUIET: readonly string[] = ['sleep', '86400'];

/** Writes so many blocks to its stdout. */
export function source(blockBytes: number, blocks: number): readonly string[] {
  return ['sh', '-c', `dd if=/dev/zero bs=${blockBytes} count=${blocks} 2>/dev/null`];
}

/** Reads so many blocks from its stdin, and says on stderr how many they were. It ends by itself: some subprotocols know no end of input. */
export function sink(blockBytes: number, blocks: number): readonly string[] {
  return ['dd', 'of=/dev/null', `bs=${blockBytes}`, 'iflag=fullblock', `count=${blocks}`];
}

/** How many blocks `sink` says that it has read whole. */
export function sunkBlocks(stderr: string): number {
  return Number(/^(\d+)\+0 records in$/m.exec(stderr)?.[1] ?? 0);
}
