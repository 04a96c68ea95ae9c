import { get, messageOf, type Ask, type Node } from './nodes.ts';
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
  const answers = await Promise.all(
    nodes.map(node => get(node, request).catch((cause: unknown) => ({ node, ...failed(cause) }))),
  );
  const [lists, others] = [answers.filter(isList), answers.filter(answer => !isList(answer))];
  const [list] = lists;
  const [other] = others;
  const warnings = others.map(({ node, body }) => `the pods of node ${node.name} are missing: ${messageOf(body)}`);
  if (list === undefined) return { status: other?.status ?? 503, body: other?.body ?? '', warnings: [] };
  const parsed = lists.map(({ body }) => JSON.parse(body.toString()) as List);
  const all = (of: (list: List) => readonly unknown[] | null | undefined): unknown[] =>
    parsed.flatMap(one => of(one) ?? []);
  const isTable = parsed[0]?.rows !== undefined;
  const pods = isTable ? { rows: all(({ rows }) => rows) } : { items: all(({ items }) => items) };
  return { status: 200, body: JSON.stringify({ ...parsed[0], ...pods }), warnings };
}

function isList({ status }: { readonly status: number }): boolean {
  return status === 200;
}

function failed(cause: unknown): { readonly status: number; readonly body: string } {
  const { code: status, body } = statusOf(cause instanceof Refusal ? cause : new Refusal(503, String(cause)));
  return { status, body };
}
