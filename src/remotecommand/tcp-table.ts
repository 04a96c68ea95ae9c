import { createReadStream } from 'node:fs';
import { isIPv4, isIPv6, type Socket } from 'node:net';
import { endianness } from 'node:os';
import { createInterface } from 'node:readline';

/** Of one table: some 50 000 connections, which take a tenth of a second. What comes later is not seen. */
const MAX_TABLE_BYTES = 8 * 1024 * 1024;
/** Number, both ends, state, queues, timer, retransmissions (hexadecimal), user, probes. */
const ROW = /^ *\d+: ([0-9A-F]+:[0-9A-F]{4} [0-9A-F]+:[0-9A-F]{4}) [0-9A-F]{2} \S+ \S+ ([0-9A-F]{8}) +\d+ +(\d+) /;
const IPV6_GROUPS = 8;

/** A TCP connection as the kernel's tables write it. */
export interface TcpConnection {
  readonly table: '/proc/net/tcp' | '/proc/net/tcp6';
  /** Both ends, our own first. */
  readonly ends: string;
}

type SocketEnds = Pick<Socket, 'localAddress' | 'localPort' | 'remoteAddress' | 'remotePort'>;

/** How the tables name the socket's connection; undefined where it has none any more. */
export function tcpConnectionOf(socket: SocketEnds): TcpConnection | undefined {
  const { localAddress, localPort, remoteAddress, remotePort } = socket;
  if (localAddress === undefined || localPort === undefined) return undefined;
  if (remoteAddress === undefined || remotePort === undefined) return undefined;
  const ends = `${endOf(localAddress, localPort)} ${endOf(remoteAddress, remotePort)}`;
  return { table: isIPv4(localAddress) ? '/proc/net/tcp' : '/proc/net/tcp6', ends };
}

/**
 * Per connection of a table how often in a row the kernel has sent without an answer: retransmissions that nothing new was
 * acknowledged after, and probes (of a closed window, or keepalive) that nothing came after. A peer that is there and does not read
 * answers each probe, so its number stays 0.
 *
 * @throws {Error} where the kernel has no such table; only Linux has
 */
export async function readUnanswered(
  table: TcpConnection['table'],
  wanted: ReadonlySet<string>,
): Promise<Map<string, number>> {
  const unanswered = new Map<string, number>();
  const rows = createInterface({ input: createReadStream(table, { end: MAX_TABLE_BYTES }) });
  for await (const row of rows) {
    const parsed = parseRow(row);
    if (parsed !== undefined && wanted.has(parsed.ends)) unanswered.set(parsed.ends, parsed.unanswered);
  }
  return unanswered;
}

/** One line of a table; undefined for its heading. Kernel: `get_tcp4_sock`, columns `retrnsmt` and `timeout`. */
export function parseRow(row: string): { ends: string; unanswered: number } | undefined {
  const [, ends, retransmissions, probes] = ROW.exec(row) ?? [];
  if (ends === undefined) return undefined;
  return { ends, unanswered: Number(`0x${retransmissions}`) + Number(probes) };
}

function endOf(address: string, port: number): string {
  const words = isIPv6(address) ? wordsOfIPv6(address) : [address.split('.').map(Number)];
  const hex = words.map(word => Buffer.from(endianness() === 'LE' ? word.toReversed() : word).toString('hex')).join('');
  return `${hex}:${port.toString(16).padStart(4, '0')}`.toUpperCase();
}

/** Four words of four bytes each, in network order: the kernel prints each as a number of the machine's own. */
function wordsOfIPv6(address: string): number[][] {
  // A URL writes each address in one way, in hexadecimal only; a zone such as %eth0 is no part of it.
  const [start = '', end = ''] = new URL(`http://[${address.replace(/%.*/, '')}]`).hostname.slice(1, -1).split('::');
  const [first, last] = [start, end].map(part => part.split(':').filter(group => group !== ''));
  const zeros = Array<string>(IPV6_GROUPS - (first?.length ?? 0) - (last?.length ?? 0)).fill('0');
  const bytes = [...(first ?? []), ...zeros, ...(last ?? [])].flatMap(group => {
    const value = parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
  return [0, 4, 8, 12].map(at => bytes.slice(at, at + 4));
}
