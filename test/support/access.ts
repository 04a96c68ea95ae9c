import { chmod, rename, writeFile } from 'node:fs/promises';
import { request as requestHttps } from 'node:https';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { Authority, type Issued } from './authority.ts';
import { temporaryDirectory } from './cleanup.ts';

/** What a test calls the daemon with: a certificate, headers, or a token in a subprotocol. */
export interface Shown {
  readonly certificate?: Issued;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  /** As browsers send it, in requests for a WebSocket. */
  readonly subprotocolToken?: string;
  /** The server's address; loopback unless given. */
  readonly host?: string;
}

/** The kinds of request that the same path can be asked with. */
export const SHAPES = {
  GET: { method: 'GET', headers: {} },
  POST: { method: 'POST', headers: {} },
  'SPDY upgrade': {
    method: 'POST',
    headers: { Connection: 'Upgrade', Upgrade: 'SPDY/3.1', 'X-Stream-Protocol-Version': 'v4.channel.k8s.io' },
  },
  'WebSocket upgrade': {
    method: 'GET',
    headers: {
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
      'Sec-WebSocket-Protocol': 'v4.channel.k8s.io',
    },
  },
} as const;
export type Shape = keyof typeof SHAPES;

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  /** Empty for a 101. */
  readonly body: string;
}

/** The certificates of a daemon and its callers, and the directory with their files. */
export class Credentials {
  readonly servers: Authority;
  readonly users: Authority;
  readonly proxies: Authority;
  readonly directory: string;

  private constructor(of: { servers: Authority; users: Authority; proxies: Authority; directory: string }) {
    this.servers = of.servers;
    this.users = of.users;
    this.proxies = of.proxies;
    this.directory = of.directory;
  }

  static async make(name: string): Promise<Credentials> {
    const { path: directory } = await temporaryDirectory(name);
    const [servers, users, proxies] = await Promise.all(
      ['servers', 'users', 'proxies'].map(async authority => Authority.create(authority)),
    );
    if (servers === undefined || users === undefined || proxies === undefined) throw new Error('no authorities');
    return new Credentials({ servers, users, proxies, directory });
  }

  /** Writes a file, as a whole where there is one already. */
  async file(name: string, content: string): Promise<string> {
    const path = join(this.directory, name);
    await writeFile(`${path}.new`, content, { mode: 0o600 });
    await chmod(`${path}.new`, 0o600);
    await rename(`${path}.new`, path);
    return path;
  }

  /** Arguments of `serve` for a certificate on loopback. */
  async tls(): Promise<string[]> {
    const { cert, key } = await this.serverCertificate();
    return [
      ...['--tls-cert-file', await this.file('tls.crt', cert)],
      ...['--tls-private-key-file', await this.file('tls.key', key)],
    ];
  }

  async serverCertificate(commonName = 'node'): Promise<Issued> {
    return this.servers.issue({ commonName, usages: ['server'], sans: ['127.0.0.1', 'localhost'] });
  }

  /** Arguments of `serve` for users' and front proxies' certificates; the proxies' name is `front-proxy`. */
  async clientCertificates(): Promise<string[]> {
    return [
      ...['--client-ca-file', await this.file('users.crt', this.users.certificate)],
      ...['--requestheader-client-ca-file', await this.file('proxies.crt', this.proxies.certificate)],
      ...['--requestheader-allowed-names', 'front-proxy'],
    ];
  }

  async tokens(lines: readonly string[]): Promise<string[]> {
    return ['--token-auth-file', await this.file('tokens.csv', `${lines.join('\n')}\n`)];
  }

  async rules(yaml: string): Promise<string[]> {
    return ['--authorization-mode', 'Rules', '--authorization-rules-file', await this.file('rules.yaml', yaml)];
  }

  async user(commonName: string, ...organizations: string[]): Promise<Issued> {
    return this.users.issue({ commonName, organizations, usages: ['client'] });
  }

  async frontProxy(commonName = 'front-proxy'): Promise<Issued> {
    return this.proxies.issue({ commonName, usages: ['client'] });
  }

  /** Sends one request over a connection of its own, and closes one that was upgraded. */
  async ask(port: number, path: string, shape: Shape, shown: Shown = {}): Promise<Answer> {
    const { method, headers } = SHAPES[shape];
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const sent = requestHttps({
      host: shown.host ?? '127.0.0.1',
      port,
      path,
      method,
      headers: { ...headers, ...shown.headers, ...(shape === 'WebSocket upgrade' && subprotocols(shown)) },
      agent: false,
      ca: this.servers.certificate,
      ...shown.certificate,
    });
    sent.on('error', reject);
    sent.on('upgrade', ({ statusCode: status = 0, headers: answered }, socket) => {
      socket.destroy();
      resolve({ status, headers: answered, body: '' });
    });
    sent.on('response', response => {
      const { statusCode: status = 0, headers: answered } = response;
      text(response).then(body => resolve({ status, headers: answered, body }), reject);
    });
    sent.end();
    return promise;
  }
}

function subprotocols({ subprotocolToken: token }: Shown): Record<string, string> {
  if (token === undefined) return {};
  const encoded = Buffer.from(token).toString('base64url');
  return { 'Sec-WebSocket-Protocol': `v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.${encoded}` };
}
