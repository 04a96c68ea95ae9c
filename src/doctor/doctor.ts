import { readFileSync } from 'node:fs';
import type { Settings } from '../config/schema.ts';
import { Engine } from '../docker/engine.ts';
import { HOST_PROCESSES } from '../docker/process-table.ts';
import { checkTermination, engineNameOf } from '../docker/termination-check.ts';
import { checkAccessFiles } from './access-files-check.ts';
import { checkApiServer } from './api-server-check.ts';
import { check, named, note, notChecked, type Check, type Finding } from './check.ts';
import { checkClock } from './clock-check.ts';
import { checkContainers } from './containers-check.ts';
import { askEngine, checkApiVersion } from './engine-check.ts';
import { checkExposure, checkPort } from './listener-check.ts';
import { checkSessionLog } from './session-log-check.ts';
import { checkTls } from './tls-check.ts';

/** For each answer of the Engine: whoever waits for a diagnosis need not wait as long as a daemon may. */
const MAX_ENGINE_TIMEOUT_MS = 5_000;

/** Everything that can be found out about a node without changing anything on it, in a fixed order. Never rejects. */
export async function examine(settings: Settings): Promise<readonly Check[]> {
  const now = new Date();
  const checks = await Promise.all([
    examineEngine(settings),
    check('address', () => Promise.resolve(checkExposure(settings))),
    check('port', () => checkPort(settings)),
    check('tls', () => checkTls(settings, now)),
    check('files', () => checkAccessFiles(settings, now)),
    check('session-log', () => checkSessionLog(settings.sessionLog)),
    check('api-server', () => checkApiServer(settings)),
  ]);
  return checks.flat();
}

/** One after the other, as far as one has no meaning where another has failed. */
async function examineEngine(settings: Settings): Promise<readonly Check[]> {
  const { dockerEndpoint: endpoint, namingSchemes, onDisconnect } = settings;
  const timeoutMs = Math.min(settings.engineTimeoutMs, MAX_ENGINE_TIMEOUT_MS);
  const engine = new Engine({ endpoint, timeoutMs });
  const { finding, version } = await askEngine(engine, timeoutMs);
  const answers = named('engine', [finding]);
  if (version === undefined) {
    const text = 'API version, containers, whether commands can be terminated, clock: the Engine has to answer first';
    return [...answers, ...named('engine', [notChecked(text)])];
  }
  const api = named('api-version', checkApiVersion(version, engine.apiVersion));
  const listed = engine.listContainers();
  const others = await Promise.all([
    check('containers', async () => {
      const running = (await listed).filter(({ State }) => State === 'running');
      const nameable = running.map(container => ({ engineName: engineNameOf(container), labels: container.Labels }));
      return checkContainers(nameable, namingSchemes);
    }),
    check('termination', async () => {
      const ownStatus = readFileSync('/proc/self/status', 'utf8');
      const containers = await listed;
      const findings = await checkTermination({ engine, containers, processes: HOST_PROCESSES, ownStatus });
      return onDisconnect === 'keep' ? findings.map(asWished) : findings;
    }),
    check('clock', async () => {
      const askedAt = new Date();
      const theirs = await engine.systemTime();
      return [checkClock({ whose: `the Engine at ${endpoint.text}`, theirs, askedAt, answeredAt: new Date() })];
    }),
  ]);
  return [...answers, ...api, ...others.flat()];
}

/** Where commands are to run on, it is no problem that they cannot be ended. */
function asWished({ result, text }: Finding): Finding {
  return result === 'problem' ? note(`${text}; with --on-disconnect=keep nothing is to be ended`) : { result, text };
}
