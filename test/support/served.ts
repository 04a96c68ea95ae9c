import { after, before } from 'node:test';
import { kubernetesLabels, type TestContainer } from './containers.ts';
import { Daemon } from './daemon.ts';
import { startTestEngine, type TestEngine } from './engine.ts';

/** An Engine with one container, known as `default/web/app`, and a daemon that serves it. */
export interface Served {
  readonly engine: TestEngine;
  readonly web: TestContainer;
  readonly daemon: Daemon;
}

/** What a test needs besides. Not in a `before` of its own: the hooks of a file run at the same time. */
export interface ServeOptions {
  /** Further arguments of `serve`. */
  readonly args?: readonly string[];
  /** As for `Daemon.start`. */
  readonly insides?: boolean;
  readonly beforeDaemon?: (engine: TestEngine) => Promise<void>;
  readonly afterDaemon?: (daemon: Daemon) => Promise<void>;
}

/**
 * Starts all three before the first test of the calling file and takes them away after its last one, also when one of them did
 * not start. To be used within tests and hooks only: before that they are not there yet.
 */
export function serveWeb({ args = [], insides = false, beforeDaemon, afterDaemon }: ServeOptions = {}): Served {
  const started: { -readonly [Part in keyof Served]?: Served[Part] } = {};
  before(async () => {
    started.engine = await startTestEngine();
    const labels = kubernetesLabels({ namespace: 'default', pod: 'web', container: 'app' });
    started.web = await started.engine.createContainer({ labels });
    await beforeDaemon?.(started.engine);
    started.daemon = await Daemon.start({ engine: started.engine, args, insides });
    await afterDaemon?.(started.daemon);
  });
  after(async () => {
    await started.daemon?.stop();
    await started.engine?.stop();
  });
  const part = <Part extends keyof Served>(name: Part): Served[Part] => {
    const value = started[name];
    if (value === undefined) throw new Error(`the ${name} has not been started yet`);
    return value;
  };
  return {
    get engine() {
      return part('engine');
    },
    get web() {
      return part('web');
    },
    get daemon() {
      return part('daemon');
    },
  };
}
