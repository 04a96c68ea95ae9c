import type { Transport } from './raw-exec.ts';

/** An upgrade request to that path, byte for byte. */
export function upgradeRequest(transport: Transport, path: string): string {
  return transport === 'spdy'
    ? `POST ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\nContent-Length: 0\r\n\r\n`
    : `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n`;
}

/** The SYN_STREAMs of error, stdin, stdout and stderr, as a Go client sends them; their ids are 1, 3, 5 and 7. */
export const SPDY_STREAMS = [
  '80030001000000290000000100000000000078f9e3c6a7c26260606004a7b392a2d4c45c6851c29a0a0a6800000000ffff',
  '800300010000001700000003000000000000c22e555c92929907000000ffff',
  '800300010000001900000005000000000000c22ac5565c92925f5a02000000ffff',
  '800300010000001500000007000000000000c229975a5404000000ffff',
].map(hex => Buffer.from(hex, 'hex'));
