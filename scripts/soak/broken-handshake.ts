import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { execPath, leave, receivedFor, type Observed } from './observed.ts';
import type { Reset, SessionPlan } from './session-plan.ts';

/** Plays a client that leaves within its request, or right behind it without waiting for an answer. */
export async function playBrokenHandshake(plan: SessionPlan, reset: Reset, port: number): Promise<Observed> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.on('error', () => undefined);
  const request = upgradeRequest(plan);
  const sent = reset.point === 'handshake' ? request.slice(0, reset.after) : request;
  await new Promise<void>(resolve => socket.write(sent, () => resolve()));
  leave(socket, reset);
  return { ...receivedFor(plan), left: true, protocol: '', errorStream: '', flaws: [], sentBytes: 0 };
}

function upgradeRequest(plan: SessionPlan): string {
  const lines =
    plan.protocol.transport === 'spdy'
      ? [
          `POST ${execPath(plan)} HTTP/1.1`,
          'Content-Length: 0',
          'Upgrade: SPDY/3.1',
          ...plan.offered.map(name => `X-Stream-Protocol-Version: ${name}`),
        ]
      : [
          `GET ${execPath(plan)} HTTP/1.1`,
          'Upgrade: websocket',
          'Sec-WebSocket-Version: 13',
          `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
          ...plan.offered.map(name => `Sec-WebSocket-Protocol: ${name}`),
        ];
  return `${[...lines, 'Host: 127.0.0.1', 'Connection: Upgrade'].join('\r\n')}\r\n\r\n`;
}
