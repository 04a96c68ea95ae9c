import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const EVERY_MS = 5_000;
const WITHIN_MS = 3_000;
const MISSES = 3;
/** What the network says of a host that is gone. Any other failure is of this host's own making, such as no more file descriptors or ports. */
const GONE = new Set(['EHOSTUNREACH', 'EHOSTDOWN', 'ENETUNREACH', 'ETIMEDOUT']);

/** Where a session's connection leads: an address, since the sessions of a node are there also while its name cannot be looked up. */
interface Peer {
  readonly host: string;
  readonly port: number;
}

/**
 * Ends the sessions of a node whose host is not there any more.
 *
 * TCP keepalive finds that for connections on which nothing is under way. But kubectl sends a ping every 5 s, and what has been sent
 * and not acknowledged is only sent again, for a quarter of an hour. So each node with sessions is dialled now and then. To be
 * dialled takes no more than a kernel: a node that is merely busy loses nothing.
 */
export class LostNodes {
  readonly #sessions = new Map<string, Set<Socket>>();
  readonly #everyMs: number;

  constructor(everyMs = EVERY_MS) {
    this.#everyMs = everyMs;
  }

  /** Destroys the connection when the host at its other end is lost. */
  watch(connection: Socket): void {
    const { remoteAddress: host, remotePort: port } = connection;
    if (host === undefined || port === undefined) return; // it has been closed already
    const key = `${host} ${port}`;
    const known = this.#sessions.get(key);
    const sessions = known ?? new Set();
    sessions.add(connection);
    connection.once('close', () => sessions.delete(connection));
    if (known !== undefined) return;
    this.#sessions.set(key, sessions);
    void this.#dial({ host, port }, sessions, () => this.#sessions.delete(key));
  }

  /** Until there are no sessions; `then` comes at once, so that none is added in between. */
  async #dial(peer: Peer, sessions: ReadonlySet<Socket>, then: () => void): Promise<void> {
    for (let missed = 0; sessions.size > 0;) {
      await delay(this.#everyMs, undefined, { ref: false });
      missed = (await isGone(peer)) ? missed + 1 : 0;
      if (missed >= MISSES) for (const session of sessions) session.destroy();
    }
    then();
  }
}

/** A refusal is an answer: the host is there, and its kernel closes what its daemon had open. */
async function isGone(peer: Peer): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(peer);
    const done = (gone: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(gone);
    };
    const timer = setTimeout(done, WITHIN_MS, true);
    socket.once('connect', () => done(false));
    socket.on('error', ({ code = '' }: NodeJS.ErrnoException) => done(GONE.has(code)));
  });
}
