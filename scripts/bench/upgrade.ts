import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

const HEAD_END = Buffer.from('\r\n\r\n');

/** Connects, sends the request and reads its 101; what came behind that is the first thing to be read. The socket is paused. */
export async function upgrade(
  { port, tls }: { port: number; tls: boolean },
  { method, path, headers }: { method: string; path: string; headers: Readonly<Record<string, string>> },
): Promise<Socket> {
  const at = { host: '127.0.0.1', port };
  const socket = tls ? connectTls({ ...at, rejectUnauthorized: false }) : connect(at);
  socket.setNoDelay(true);
  await once(socket, tls ? 'secureConnect' : 'connect');
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n${lines.join('')}\r\n`);
  let received: Buffer = Buffer.alloc(0);
  const closed = once(socket, 'close').then(() => {
    throw new Error('the connection was closed before its answer');
  });
  closed.catch(() => undefined); // later than that it is no matter here
  while (!received.includes(HEAD_END)) {
    const [chunk] = (await Promise.race([once(socket, 'data'), closed])) as [Buffer];
    received = Buffer.concat([received, chunk]);
  }
  socket.pause();
  const headEnd = received.indexOf(HEAD_END) + HEAD_END.length;
  const head = received.toString('latin1', 0, headEnd);
  if (!head.startsWith('HTTP/1.1 101 ')) throw new Error(`refused: ${received.toString()}`);
  if (received.length > headEnd) socket.unshift(received.subarray(headEnd));
  return socket;
}
