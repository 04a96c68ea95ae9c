import { STATUS_CODES, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { NAME, type Asker, type Locator } from './locator.ts';
import type { LostNodes } from './lost-nodes.ts';
import { ask, notPassedOn, type Answer, type Upgraded } from './nodes.ts';
import { relay } from './relay.ts';
import { SpdyEnd } from './spdy-end.ts';
import { Refusal, statusOf } from './status.ts';

const EXEC = new RegExp(`^/api/v1/namespaces/(${NAME})/pods/(${NAME})/exec(?:\\?(.*))?$`);
/** Of the query. What is not here stays here: `env` names the audit record of an exec, which is not the caller's to say. */
const PARAMETERS = new Set(['command', 'container', 'stdin', 'stdout', 'stderr', 'tty']);
/** What a client's handshake is made of. Nothing else of its headers is passed on. */
const TO_NODE = ['upgrade', 'user-agent', 'x-stream-protocol-version', 'sec-websocket-key', 'sec-websocket-version'];
const TO_CLIENT = ['x-stream-protocol-version', 'sec-websocket-accept', 'sec-websocket-protocol'];
const TO_CLIENT_OF_REFUSAL = [
  'content-type',
  'retry-after',
  'x-accepted-stream-protocol-versions',
  'sec-websocket-version',
];
/** A bearer token in disguise, as browsers send it. */
const TOKEN_PROTOCOL = 'base64url.bearer.authorization.k8s.io.';
const DESTROY_AFTER_MS = 1_000;

/** What became of an exec, for the proxy's own log. */
export interface Handled {
  readonly status: number;
  readonly node?: string;
}

/** Answers one upgrade. `client` already has an error listener. */
export async function exec(
  { request, client, head }: { request: IncomingMessage; client: Socket; head: Buffer },
  asker: Asker,
  { locator, lostNodes }: { locator: Locator; lostNodes: LostNodes },
): Promise<Handled> {
  const { namespace, pod, query } = targetOf(request);
  const node = await locator.nodeOf(namespace, pod, asker);
  let answer: Answer | Upgraded;
  try {
    answer = await ask(node, {
      ...asker,
      method: request.method === 'POST' ? 'POST' : 'GET',
      // The API server's form: the node finds a pod's only container, and its refusals are a Status. A kubelet knows /exec/… only.
      path: `/api/v1/namespaces/${namespace}/pods/${pod}/exec${query}`,
      headers: { connection: 'Upgrade', ...picked(request.headers, TO_NODE), ...subprotocols(request.headers) },
    });
    if ('status' in answer && answer.status < 400) throw notPassedOn(node, answer.status);
  } catch (cause) {
    locator.forget(namespace, pod);
    throw cause;
  }
  if ('status' in answer) {
    if (answer.status === 404) locator.forget(namespace, pod);
    refuse(client, answer.status, picked(answer.headers, TO_CLIENT_OF_REFUSAL), answer.body);
    return { status: answer.status, node: node.name };
  }
  const { upgrade = '' } = answer.headers;
  writeHead(client, 101, { Connection: 'Upgrade', Upgrade: upgrade, ...picked(answer.headers, TO_CLIENT) });
  if (head.length > 0) answer.socket.write(head);
  if (answer.head.length > 0) answer.socket.unshift(answer.head);
  const isSpdy = upgrade.toLowerCase() === 'spdy/3.1';
  const lost = `the connection to node ${node.name} was lost: how the command ended is unknown`;
  lostNodes.watch(answer.socket);
  await relay({
    client,
    node: answer.socket,
    ...(isSpdy && { fromNode: new SpdyEnd(statusFor(answer.headers['x-stream-protocol-version'], lost)) }),
  });
  return { status: 101, node: node.name };
}

/** Refuses an upgrade with a Status. */
export function refuseWith(client: Socket, cause: unknown): Handled {
  const { code, body } = statusOf(cause);
  refuse(client, code, { 'content-type': 'application/json' }, body);
  return { status: code };
}

function targetOf({ url = '', method, headers }: IncomingMessage): { namespace: string; pod: string; query: string } {
  const [, namespace, pod, query = ''] = EXEC.exec(url) ?? [];
  if (namespace === undefined || pod === undefined) throw new Refusal(404, 'only exec is served with an upgrade');
  if (method !== 'GET' && method !== 'POST') throw new Refusal(405, 'an exec is a GET or a POST');
  if (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0) {
    throw new Refusal(400, 'an upgrade request may not have a body');
  }
  const passed = query.split('&').filter(parameter => PARAMETERS.has(parameter.split('=', 1)[0] ?? ''));
  return { namespace, pod, query: `?${passed.join('&')}` };
}

function picked(headers: IncomingHttpHeaders, names: readonly string[]): Record<string, string | string[]> {
  return Object.fromEntries(names.flatMap(name => (headers[name] === undefined ? [] : [[name, headers[name]]])));
}

function subprotocols({ 'sec-websocket-protocol': offered }: IncomingHttpHeaders): Record<string, string> {
  if (offered === undefined) return {};
  const protocols = offered.split(',').map(protocol => protocol.trim());
  return { 'sec-websocket-protocol': protocols.filter(name => !name.startsWith(TOKEN_PROTOCOL)).join(', ') };
}

/** What an error stream says of a failure: a Status from v4 on, text before. */
function statusFor(protocol: string | string[] | undefined, message: string): string {
  return protocol === 'v4.channel.k8s.io' ? statusOf(new Refusal(500, message)).body : message;
}

function writeHead(
  client: Socket,
  status: number,
  headers: Readonly<Record<string, string | string[] | number | undefined>>,
): void {
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    [value ?? []].flat().map(one => `${name}: ${one}\r\n`),
  );
  client.write(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines.join('')}\r\n`, 'latin1');
}

/** Answers with something else than a 101, and closes. */
function refuse(
  client: Socket,
  status: number,
  headers: Record<string, string | string[]>,
  body: Buffer | string,
): void {
  writeHead(client, status, { ...headers, 'content-length': Buffer.byteLength(body), connection: 'close' });
  client.end(body);
  client.resume(); // what is left unread at the close would take the answer along
  const timer = setTimeout(() => client.destroy(), DESTROY_AFTER_MS);
  client.once('close', () => clearTimeout(timer));
}
