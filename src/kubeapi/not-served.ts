const WHAT = new Map([
  ['attach', 'attach'],
  ['containerLogs', 'logs'],
  ['ephemeralcontainers', 'debug'],
  ['log', 'logs'],
  ['portForward', 'port-forward'],
  ['portforward', 'port-forward'],
  ['proxy', 'proxy'],
  ['run', 'run'],
]);

const KUBELET_FORM = /^\/(attach|containerLogs|portForward|run)(\/|$)/;
const API_FORM = /^\/api\/v1\/namespaces\/[^/]+\/pods\/[^/]+\/(attach|ephemeralcontainers|log|portforward|proxy)(\/|$)/;

/**
 * Why a path of the kubelet or the API server has no answer here, for whatever method and with or without an upgrade;
 * undefined for every other path. The answer is 501: text for the kubelet's form, a Status for the API server's (`/api/…`).
 */
export function notServed(path: string): string | undefined {
  const call = (KUBELET_FORM.exec(path) ?? API_FORM.exec(path))?.[1];
  const what = call === undefined ? undefined : WHAT.get(call);
  return what === undefined ? undefined : `execlet serves exec only, not ${what}`;
}
