import { get, messageOf, type Answer, type Ask, type Node } from './nodes.ts';
import { Refusal, statusOf } from './status.ts';

/** The list of all nodes together, and what is to be said of those whose pods are missing. */
export interface PodList {
  readonly status: number;
  readonly body: string | Buffer;
  readonly warnings: readonly string[];
}

/** A Table, which kubectl asks for, has its pods in `rows`, a PodList in `items`. */
interface List {
  readonly rows?: readonly unknown[] | null;
  readonly items?: readonly unknown[] | null;
}

/** Asks every node, and makes one list of theirs. Where none has one, the first node's refusal is the answer. */
export async function listPods(nodes: readonly Node[], request: Omit<Ask, 'method'>): Promise<PodList> {
  const results = await Promise.all(nodes.map(node => listOf(node, request)));
  const lists = results.flatMap(({ list }) => list ?? []);
  const refusals = results.flatMap(({ refusal }) => refusal ?? []);
  const [first] = lists;
  if (first === undefined) return { ...(refusals[0] ?? { status: 503, body: '' }), warnings: [] };
  const warnings = refusals.map(({ node, body }) => `the pods of node ${node.name} are missing: ${messageOf(body)}`);
  const pods =
    first.rows === undefined
      ? { items: lists.flatMap(({ items }) => items ?? []) }
      : { rows: lists.flatMap(({ rows }) => rows ?? []) };
  return { status: 200, body: JSON.stringify({ ...first, ...pods }), warnings };
}

interface Result {
  readonly list?: List;
  readonly refusal?: Pick<Answer, 'node' | 'status'> & { readonly body: string | Buffer };
}

/** Never rejects: one node that fails takes no other's pods along. */
async function listOf(node: Node, request: Omit<Ask, 'method'>): Promise<Result> {
  try {
    const answer = await get(node, request);
    return answer.status === 200 ? { list: JSON.parse(answer.body.toString()) as List } : { refusal: answer };
  } catch (cause) {
    const refusal = cause instanceof Refusal ? cause : new Refusal(503, `node ${node.name} gave no list of pods`);
    const { code: status, body } = statusOf(refusal);
    return { refusal: { node, status, body } };
  }
}
