import {
  CONSOLE_SIZE_SINCE,
  isAtLeast,
  NEWEST_API_VERSION,
  type Engine,
  type EngineVersion,
} from '../docker/engine.ts';
import { note, ok, problem, type Finding } from './check.ts';
import { explainEngineFailure } from './engine-failure.ts';

/** The oldest that execlet has been run against, that of Debian's 20.10. */
const OLDEST_TESTED_API_VERSION = '1.41';

/** Asks the Engine for its version; there is none where it does not answer, and then the finding says why. */
export async function askEngine(
  engine: Pick<Engine, 'endpoint' | 'negotiate'>,
  timeoutMs: number,
): Promise<{ readonly finding: Finding; readonly version?: EngineVersion }> {
  const { endpoint } = engine;
  const askedAt = performance.now();
  try {
    const version = await engine.negotiate();
    return { finding: ok(`the Engine at ${endpoint.text} answers: version ${version.version}`), version };
  } catch (cause) {
    const elapsedMs = performance.now() - askedAt;
    return { finding: problem(explainEngineFailure(cause, { endpoint, timeoutMs, elapsedMs })) };
  }
}

/** Which version of the API is spoken, and what is worse with an old one. */
export function checkApiVersion({ newestApi, oldestApi }: EngineVersion, spoken: string): readonly Finding[] {
  if (oldestApi !== undefined && !isAtLeast(NEWEST_API_VERSION, oldestApi)) {
    const text = `the Engine speaks no API older than ${oldestApi}, and this execlet none newer than ${NEWEST_API_VERSION}`;
    return [problem(`${text}: update execlet`)];
  }
  const speaks = `API version ${spoken} is spoken, the Engine's newest is ${newestApi}`;
  if (!isAtLeast(spoken, OLDEST_TESTED_API_VERSION)) {
    const why = `execlet is not tested with any before ${OLDEST_TESTED_API_VERSION}`;
    return [problem(`${speaks}: ${why}; update the Engine`)];
  }
  if (!isAtLeast(spoken, CONSOLE_SIZE_SINCE)) {
    const worse = `before ${CONSOLE_SIZE_SINCE} a terminal gets its first size only when its command runs already`;
    return [note(`${speaks}: ${worse}; update the Engine where that matters`)];
  }
  return [ok(speaks)];
}
