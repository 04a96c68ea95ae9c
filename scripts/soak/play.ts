import { playBrokenHandshake } from './broken-handshake.ts';
import type { Observed } from './observed.ts';
import type { SessionPlan } from './session-plan.ts';
import { playOverSpdy } from './spdy-session.ts';
import { playOverWebSocket } from './websocket-session.ts';

/** More than any session takes, on a machine that has much else to do. */
const SESSION_TIMEOUT_MS = 120_000;

/** Plays a session to its end. Rejects when the client fails, or when the session does not end. */
export async function playSession(plan: SessionPlan, port: number): Promise<Observed> {
  const overdue = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => overdue.reject(new Error(`the session did not end within ${SESSION_TIMEOUT_MS} ms`)),
    SESSION_TIMEOUT_MS,
  );
  try {
    return await Promise.race([play(plan, port), overdue.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function play(plan: SessionPlan, port: number): Promise<Observed> {
  const { reset, protocol } = plan;
  if (reset?.point === 'handshake' || reset?.point === 'request') return playBrokenHandshake(plan, reset, port);
  return protocol.transport === 'spdy' ? playOverSpdy(plan, port) : playOverWebSocket(plan, port);
}
