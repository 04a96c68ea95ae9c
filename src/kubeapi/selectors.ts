import { ExecletError } from '../errors.ts';
import type { Pod } from './pods.ts';

/** Half a million terms would take half a second, and hundreds of MiB. */
const MAX_SELECTOR_LENGTH = 64 * 1024;

/** Whether a pod is meant by a selector. */
export type PodFilter = (pod: Pod) => boolean;

const FIELDS = new Map<string, (pod: Pod) => string>([
  ['metadata.name', pod => pod.metadata.name],
  ['metadata.namespace', pod => pod.metadata.namespace],
  ['spec.nodeName', pod => pod.spec.nodeName],
  ['status.phase', pod => pod.status.phase],
]);

/**
 * Parses `fieldSelector`: terms `FIELD=VALUE`, `==` or `!=`, comma-separated, all of which must hold.
 *
 * @throws {ExecletError} BadExecRequest for a field we do not have, since ignoring one would select too much
 */
export function parseFieldSelector(selector: string): PodFilter {
  const filters = splitTerms(selector).map(term => {
    const { key, operator, value } = comparisonOf(term) ?? refuse(`invalid field selector: can't understand '${term}'`);
    const read = FIELDS.get(key) ?? refuse(`field label not supported: ${key}`);
    return (pod: Pod) => (read(pod) === value) === (operator !== '!=');
  });
  return all(filters);
}

// Prefix and name of a label key, and a label value, as Kubernetes validates them; the lengths are left to it.
const KEY = String.raw`(?:[a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?`;
const IS_KEY = new RegExp(`^${KEY}$`);
const IS_VALUE = /^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/;
const SET = /^(\S+)\s+(in|notin)\s*\(([^()]*)\)$/;

/**
 * Parses `labelSelector`: `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`, comma-separated, all of which must
 * hold. As in Kubernetes a pod without the label satisfies `!=` and `notin`.
 *
 * @throws {ExecletError} BadExecRequest for anything else
 */
export function parseLabelSelector(selector: string): PodFilter {
  return all(splitTerms(selector).map(labelFilter));
}

function labelFilter(term: string): PodFilter {
  const [, setKey, setOperator, list] = SET.exec(term) ?? [];
  if (setKey !== undefined && list !== undefined) {
    const values = list.split(',').map(value => checkedValue(value.trim(), term));
    return labelIn(checkedKey(setKey, term), values, setOperator === 'in');
  }
  const comparison = comparisonOf(term);
  if (comparison !== undefined) {
    const { key, operator, value } = comparison;
    return labelIn(checkedKey(key, term), [checkedValue(value, term)], operator !== '!=');
  }
  const absent = term.startsWith('!');
  const key = checkedKey(absent ? term.slice(1).trim() : term, term);
  return ({ metadata }) => Object.hasOwn(metadata.labels, key) !== absent;
}

function labelIn(key: string, values: readonly string[], wanted: boolean): PodFilter {
  return ({ metadata }) => {
    const value = Object.hasOwn(metadata.labels, key) ? metadata.labels[key] : undefined;
    return (value !== undefined && values.includes(value)) === wanted;
  };
}

function checkedKey(key: string, term: string): string {
  return IS_KEY.test(key) ? key : refuse(`unable to parse requirement '${term}': '${key}' is not a label key`);
}

function checkedValue(value: string, term: string): string {
  return IS_VALUE.test(value)
    ? value
    : refuse(`unable to parse requirement '${term}': '${value}' is not a label value`);
}

function comparisonOf(term: string): { key: string; operator: string; value: string } | undefined {
  const [, key, operator, value] = /^([^=!]*)(!=|==|=)(.*)$/s.exec(term) ?? [];
  if (key === undefined || operator === undefined || value === undefined) return undefined;
  return { key: key.trimEnd(), operator, value: value.trimStart() };
}

/**
 * Splits at the commas that stand outside parentheses. Like all of this file in time that grows with the length and not with its
 * square, since every session waits meanwhile.
 */
function splitTerms(selector: string): string[] {
  if (selector.length > MAX_SELECTOR_LENGTH) refuse(`a selector may have ${MAX_SELECTOR_LENGTH} characters`);
  const terms: string[] = [];
  let inParentheses = false;
  let begin = 0;
  for (let at = 0; at <= selector.length; at += 1) {
    const character = selector[at];
    if (character === '(' || character === ')') inParentheses = character === '(';
    if (character !== undefined && (character !== ',' || inParentheses)) continue;
    terms.push(selector.slice(begin, at).trim());
    begin = at + 1;
  }
  return terms.filter(term => term !== '');
}

function all(filters: readonly PodFilter[]): PodFilter {
  return pod => filters.every(filter => filter(pod));
}

function refuse(message: string): never {
  throw new ExecletError('BadExecRequest', message);
}
