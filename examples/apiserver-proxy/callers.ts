import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import { Refusal } from './status.ts';

/** Who asks, as the nodes are told. */
export interface Caller {
  readonly user: string;
  readonly groups: readonly string[];
  /** More about them: each key becomes a header `X-Remote-Extra-KEY`. */
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

/** What no header can carry: whoever reads one drops the spaces around its value, and `alice ` would be `alice` at the node. */
// eslint-disable-next-line no-control-regex -- these are the ones
const UNFIT = /^ | $|[\0-\x1f\x7f]/;

/** Knows callers by their client certificate or by their bearer token. There is no anonymous caller. */
export class Callers {
  readonly #byDigest: ReadonlyMap<string, Caller>;

  constructor(tokens: Iterable<readonly [token: string, caller: Caller]>) {
    // Looked up by digest, so that the time it takes says nothing of how much of a token was right.
    this.#byDigest = new Map([...tokens].map(([token, caller]) => [digestOf(token), caller]));
  }

  /** @throws {Refusal} 401; 403 for what would make the caller somebody else, at the node or here, or comes from a web page */
  identify({ headers, socket }: IncomingMessage): Caller {
    if (Object.keys(headers).some(name => name.startsWith('impersonate-'))) {
      throw new Refusal(403, 'impersonation is not supported');
    }
    // A browser shows its user's certificate for whatever page asks it to.
    const { origin } = headers;
    if (origin !== undefined && URL.parse(origin)?.host !== headers.host) {
      throw new Refusal(403, 'requests from web pages are refused');
    }
    const token = /^bearer (\S+)$/i.exec(headers.authorization ?? '')?.[1];
    const caller = ofCertificate(socket) ?? (token === undefined ? undefined : this.#byDigest.get(digestOf(token)));
    if (caller === undefined) throw new Refusal(401, 'Unauthorized');
    if ([caller.user, ...caller.groups].some(name => UNFIT.test(name))) {
      throw new Refusal(
        403,
        'the name of this user or of one of its groups has spaces around it, or a control character',
      );
    }
    return caller;
  }
}

/** CN is the user, each O a group. The listener trusts the callers' CAs only, so OpenSSL's verdict is all it takes. */
function ofCertificate(socket: unknown): Caller | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const { subject, fingerprint256 } = socket.getPeerCertificate();
  const [user = '', ...others] = [subject.CN ?? []].flat();
  if (user === '' || others.length > 0) return undefined;
  const credential = `X509SHA256=${fingerprint256.replaceAll(':', '').toLowerCase()}`; // as kube-apiserver has it
  return callerOf(user, [subject.O ?? []].flat(), { 'authentication.kubernetes.io/credential-id': [credential] });
}

function callerOf(user: string, groups: readonly string[], extra: Caller['extra'] = {}): Caller {
  const named = groups.filter(group => group !== '' && group !== 'system:authenticated');
  return { user, groups: [...named, 'system:authenticated'], extra };
}

/** Reads `token,user,uid,"group1,group2"`, one a line: the form of kube-apiserver's --token-auth-file. */
export function parseTokenFile(text: string): [token: string, caller: Caller][] {
  return text
    .split(/\r?\n/)
    .filter(line => line !== '')
    .map((line, index) => {
      const found = [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^",]*))(?=,|$)/g)];
      const columns = found.map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '');
      // A column that is none, such as one with a quote inside, is not to make the next one the token: that may be a user's name.
      const isWhole = found.map(([text]) => text).join('') === line;
      const [token = '', user = '', uid, groups = ''] = columns;
      if (!isWhole || token === '' || user === '' || uid === undefined)
        throw new Error(`token file: line ${index + 1} is no token`);
      return [token, callerOf(user, groups.split(','))];
    });
}

function digestOf(token: string): string {
  return createHash('sha256').update(token).digest('base64');
}
