import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { WebSocketServer, type WebSocket } from 'ws';

/** The server side of one exec, as a test wants it played. */
export type Play = (socket: WebSocket, request: IncomingMessage) => void;

export const SUCCESS = '{"metadata":{},"status":"Success"}';

/** The Status of a command's non-zero exit. */
export function exitStatus(exitCode: number | string): string {
  return JSON.stringify({
    metadata: {},
    status: 'Failure',
    message: `command terminated with non-zero exit code: exit status ${exitCode}`,
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: String(exitCode) }] },
  });
}

/** One message of a binary subprotocol. */
export function onChannel(channel: number, payload: string | Buffer): Buffer {
  return Buffer.concat([Buffer.from([channel]), Buffer.from(payload)]);
}

/** A server whose WebSocket upgrades a test plays, over plain HTTP on loopback; requests without upgrade hang up. */
export class ExecServer {
  readonly #http: Server;
  readonly #webSockets: WebSocketServer;

  private constructor(http: Server, { autoPong = true }: { autoPong?: boolean } = {}) {
    this.#http = http;
    this.#webSockets = new WebSocketServer({ noServer: true, autoPong });
  }

  static async start(play: Play, options?: { autoPong?: boolean }): Promise<ExecServer> {
    const http = createServer((_request, response) => response.destroy());
    const server = new ExecServer(http, options);
    http.on('upgrade', (request, socket, head) => {
      server.#webSockets.handleUpgrade(request, socket, head, webSocket => play(webSocket, request));
    });
    http.listen(0, '127.0.0.1');
    await once(http, 'listening');
    return server;
  }

  /** A server that answers every upgrade with these bytes and hangs up. */
  static async refusing(answer: string): Promise<ExecServer> {
    const http = createServer();
    http.on('upgrade', (_request, socket) => socket.end(answer));
    http.listen(0, '127.0.0.1');
    await once(http, 'listening');
    return new ExecServer(http);
  }

  get url(): URL {
    const address = this.#http.address();
    assert.ok(typeof address === 'object' && address !== null);
    return new URL(`http://127.0.0.1:${address.port}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#webSockets.clients) client.terminate();
    this.#http.closeAllConnections();
    this.#http.close();
    await once(this.#http, 'close');
  }
}
