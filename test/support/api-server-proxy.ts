import { once } from 'node:events';
import {
  createServer,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';

const EXEC = /^\/api\/v1\/namespaces\/([^/]+)\/pods\/([^/]+)\/exec$/;
const NOT_FORWARDED = /^(authorization$|impersonate-)/i;

/** What stands between kubectl and a node: it serves the API's form of exec and speaks the kubelet's form to the daemon. */
export interface ApiServerProxy {
  readonly url: string;
  /** The request lines that were sent to the node. */
  readonly forwarded: readonly string[];
  close(): Promise<void>;
}

/**
 * A stand-in for kube-apiserver's raw upgrade proxy (upgradeaware handler, as it serves SPDY and WebSocket v4 up to 1.35 and
 * WebSocket v5 from 1.36): method unchanged, the client's headers without its credentials, `X-Forwarded-For` added, bytes
 * copied both ways, and the whole session ended when either side ends. Everything else goes to the daemon as it is.
 *
 * The last of these is what it is for: `examples/apiserver-proxy` does better, and a daemon has to cope with both.
 */
export async function startApiServerProxy({ daemonPort }: { daemonPort: number }): Promise<ApiServerProxy> {
  const forwarded: string[] = [];
  const sockets = new Set<Duplex>();
  const server = createServer({ maxHeaderSize: 1024 * 1024 }, (request, response) =>
    forwardPlain(daemonPort, request, response),
  ); // Go's limit, as for the node: long commands travel in the request line
  server.on('upgrade', (request, client, head) => {
    const node = connect(daemonPort, '127.0.0.1');
    for (const socket of [client, node]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => sockets.delete(socket));
    }
    const requestLine = `${request.method ?? ''} ${kubeletPath(request.url ?? '/')} HTTP/1.1`;
    forwarded.push(requestLine);
    node.write(`${[requestLine, ...headerLines(request)].join('\r\n')}\r\n\r\n`);
    node.write(head);
    copy(client, node);
    copy(node, client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    forwarded,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Copies until `from` ends, and then ends the whole session: the API server does so for either direction. */
function copy(from: Duplex, to: Duplex): void {
  from.pipe(to);
  from.on('close', () => to.end());
}

/** `stdin=true` and its like become the kubelet's `input=1`; parameters sorted by key, as the API server encodes them. */
function kubeletPath(url: string): string {
  const { pathname, searchParams } = new URL(url, 'http://localhost');
  const [, namespace, pod] = EXEC.exec(pathname) ?? [];
  if (namespace === undefined || pod === undefined) return url;
  const query = new URLSearchParams();
  for (const argument of searchParams.getAll('command')) query.append('command', argument);
  const names = { stderr: 'error', stdin: 'input', stdout: 'output', tty: 'tty' };
  for (const [name, kubeletName] of Object.entries(names)) {
    if (searchParams.get(name) === 'true') query.append(kubeletName, '1');
  }
  query.sort();
  return `/exec/${namespace}/${pod}/${searchParams.get('container') ?? ''}?${query.toString()}`;
}

function headerLines({ rawHeaders, socket }: IncomingMessage): string[] {
  const lines: string[] = [];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    if (!NOT_FORWARDED.test(name)) lines.push(`${name}: ${rawHeaders[index + 1] ?? ''}`);
  }
  return [...lines, `X-Forwarded-For: ${socket.remoteAddress ?? ''}`];
}

function forwardPlain(daemonPort: number, request: IncomingMessage, response: ServerResponse): void {
  const headers: IncomingHttpHeaders = { ...request.headers, host: `127.0.0.1:${daemonPort}` };
  const upstream = httpRequest({
    port: daemonPort,
    host: '127.0.0.1',
    method: request.method,
    path: request.url,
    headers,
  });
  upstream.on('response', answer => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  });
  upstream.on('error', () => response.writeHead(502).end());
  request.pipe(upstream);
}
