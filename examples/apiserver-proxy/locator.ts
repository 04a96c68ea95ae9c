import { setTimeout as delay } from 'node:timers/promises';
import { get, messageOf, type Answer, type Ask, type Node } from './nodes.ts';
import { Refusal } from './status.ts';

/** kubectl asks for the pod and then for the exec: the second needs no search. */
const REMEMBER_MS = 5_000;
const MAX_REMEMBERED = 10_000;
/** Once a node has the pod: how long others may take to say that they have one of that name too. */
const OTHERS_MS = 250;

/** What a namespace or a pod may be called in a path, as part of a regular expression; nothing that would have to be decoded. */
export const NAME = '[A-Za-z0-9][A-Za-z0-9._-]*';

/** On whose behalf a node is asked. */
export type Asker = Pick<Ask, 'caller' | 'from' | 'auditId' | 'gone'>;

/** Finds the node of a pod by asking all of them, as the caller: whether one may see a pod is the node's to decide. */
export class Locator {
  readonly #nodes: readonly Node[];
  readonly #remembered = new Map<string, { readonly node: Node; readonly until: number }>();

  constructor(nodes: readonly Node[]) {
    this.#nodes = nodes;
  }

  /**
   * @throws {Refusal} 404 when no node has the pod; 403 when nodes do not tell the caller; 409 when several have one of that name;
   * 503, with its name, when a node that may have it does not answer
   */
  async nodeOf(namespace: string, pod: string, asker: Asker): Promise<Node> {
    const path = `/api/v1/namespaces/${namespace}/pods/${pod}`;
    const remembered = this.#remembered.get(path);
    if (remembered !== undefined && remembered.until > Date.now()) return remembered.node;
    const node = await this.#search(pod, { ...asker, path, headers: { accept: 'application/json' } });
    if (this.#remembered.size >= MAX_REMEMBERED) this.#remembered.clear();
    this.#remembered.set(path, { node, until: Date.now() + REMEMBER_MS });
    return node;
  }

  /** The node did not have it, or did not answer. */
  forget(namespace: string, pod: string): void {
    this.#remembered.delete(`/api/v1/namespaces/${namespace}/pods/${pod}`);
  }

  async #search(pod: string, request: Omit<Ask, 'method'>): Promise<Node> {
    const owners: Node[] = [];
    const others: Answer[] = [];
    const failures: unknown[] = [];
    const first = Promise.withResolvers<undefined>();
    const asked = this.#nodes.map(async node => {
      try {
        const answer = await get(node, request);
        if (answer.status === 200) owners.push(node);
        else if (answer.status < 500) others.push(answer);
        else throw new Refusal(503, `node ${node.name} answers with ${answer.status}: ${messageOf(answer.body)}`);
      } catch (cause) {
        failures.push(cause);
      }
      if (owners.length > 0) first.resolve(undefined);
    });
    const all = Promise.all(asked);
    await Promise.race([
      all,
      first.promise.then(() => Promise.race([all, delay(OTHERS_MS, undefined, { ref: false })])),
    ]);
    const [owner, second] = owners;
    if (owner !== undefined && second !== undefined) {
      throw new Refusal(409, `pods "${pod}" is on several nodes: ${owners.map(({ name }) => name).join(', ')}`);
    }
    if (owner !== undefined) return owner;
    const forbidden = others.find(({ status }) => status === 403);
    if (forbidden !== undefined) throw new Refusal(403, messageOf(forbidden.body));
    const [failure] = failures;
    if (failure !== undefined) {
      const why = failure instanceof Error ? failure.message : 'one fails';
      throw new Refusal(503, `pods "${pod}" is not on the nodes that answer, and ${why}`, { cause: failure });
    }
    // The node where it was says what became of it, behind the words that all have: the longest is its.
    const messages = others.map(({ body }) => messageOf(body)).sort((a, b) => b.length - a.length);
    throw new Refusal(404, messages[0] ?? `pods "${pod}" not found`);
  }
}
