import { setTimeout as delay } from 'node:timers/promises';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { upgradeRequest } from './raw-upgrade.ts';

// A process of its own: asks for exec upgrades without a credential, each over a new connection, so many a second and not faster
// however slow the answers are. Prints what came of them as one line of JSON.

/** What came of a flood. */
export interface Flood {
  readonly sent: number;
  /** How often each HTTP status was answered. */
  readonly statuses: Readonly<Record<string, number>>;
  /** Connections that ended without an answer. */
  readonly unanswered: number;
}

const TICK_MS = 10;

const [port = '', perSecond = '', seconds = '', tls = ''] = process.argv.slice(2);
const statuses: Record<string, number> = {};
let sent = 0;
let over = 0;

const startedAt = Date.now();
const wanted = Number(perSecond) * Number(seconds);
while (sent < wanted) {
  const due = Math.min(wanted, Math.floor(((Date.now() - startedAt) / 1_000) * Number(perSecond)));
  while (sent < due) ask(sent++);
  await delay(TICK_MS);
}
while (over < sent && Date.now() - startedAt < (Number(seconds) + 20) * 1_000) await delay(TICK_MS);
const answered = Object.values(statuses).reduce((sum, count) => sum + count, 0);
process.stdout.write(`${JSON.stringify({ sent, statuses, unanswered: sent - answered } satisfies Flood)}\n`);
process.exit(0);

function ask(index: number): void {
  const target = { host: '127.0.0.1', port: Number(port) };
  const socket = tls === 'tls' ? connectTls({ ...target, rejectUnauthorized: false }) : connectTcp(target);
  let answer = '';
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')));
  socket.on('close', () => {
    over += 1;
    const status = /^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1];
    if (status !== undefined) statuses[status] = (statuses[status] ?? 0) + 1;
  });
  const path = '/exec/default/web/app?command=true&output=1';
  socket.end(upgradeRequest(index % 2 === 0 ? 'spdy' : 'websocket', path));
}
