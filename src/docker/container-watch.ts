import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type Docker from 'dockerode';
import { ContainerEnd } from '../exec/container-end.ts';
import { SessionEnded } from '../exec/end-reason.ts';
import type { ExecHandler } from '../exec/handler.ts';
import type { ContainerRef, Fate, HandlerRegistry, RegisteredContainer } from '../exec/handler-registry.ts';
import type { Logger } from '../log.ts';
import type { Engine } from './engine.ts';
import { readEvents, type EngineEvent } from './engine-events.ts';
import type { ExecExits } from './exec-exits.ts';
import { nameContainer, type NamingScheme } from './naming-schemes.ts';

const RECONNECT_FIRST_MS = 100;
const RECONNECT_MOST_MS = 2_000;
/**
 * How often a quiet Engine is asked whether it still lives: beyond the 5 s for which Node keeps a connection, so that each question's is
 * let go. (At 5 s it was chance whether the next one found it, and an idle daemon held one connection more for as long as it did.)
 */
const PING_INTERVAL_MS = 6_000;

export interface ContainerWatchOptions {
  readonly engine: Engine;
  readonly registry: HandlerRegistry;
  readonly exits: ExecExits;
  readonly schemes: readonly NamingScheme[];
  readonly handlerFor: (containerId: string) => ExecHandler;
  /** The event stream is up again after it had been interrupted. */
  readonly onRestart: () => void;
  readonly log: Logger;
}

/** A container that is in the registry, and how to take it out. */
interface Known {
  readonly container: RegisteredContainer;
  /**
   * The Engine puts a container's labels over its own attributes of an event, so a label `exitCode` would decide how every
   * command in it ended. Its events are not believed; the inspection is.
   */
  readonly labelsHideExits: boolean;
  readonly unregister: () => void;
}

/**
 * Keeps the registry true to the Engine: one list, then its event stream, and the whole list again whenever the stream was
 * interrupted.
 *
 * Container events are applied one after the other in the order they came. `exec_die` passes them by: an exit status must not
 * wait for a list.
 */
export class ContainerWatch {
  readonly #options: ContainerWatchOptions;
  readonly #known = new Map<string, Known>();
  readonly #startedAt = new Map<string, Date>();
  readonly #stop = new AbortController();
  readonly #firstAttempt = Promise.withResolvers<undefined>();
  #started = false;
  #engineAnswers = false;
  #inSync = false;
  #wasUp = false;
  #lost = false;
  #waitMs = RECONNECT_FIRST_MS;

  constructor(options: ContainerWatchOptions) {
    this.#options = options;
  }

  /** True while the event stream is up. */
  get engineAnswers(): boolean {
    return this.#engineAnswers;
  }

  /** True while the event stream is up and the registry follows it. */
  get inSync(): boolean {
    return this.#inSync;
  }

  /**
   * Begins to watch. An Engine that does not answer is logged once and waited for, always.
   *
   * Resolves when the registry is filled, or the first attempt has failed.
   */
  start(): Promise<void> {
    if (!this.#started) void this.#run();
    this.#started = true;
    return this.#firstAttempt.promise;
  }

  /** Ends the watch. A call to the Engine may still be under way; its answer means nothing any more. */
  stop(): void {
    this.#stop.abort();
  }

  async #run(): Promise<void> {
    const { engine, log } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#follow();
      } catch (cause) {
        if (!this.#lost && !this.#stop.signal.aborted) {
          log.error('engine unavailable', { endpoint: engine.endpoint.text, error: String(cause) });
        }
        this.#lost = true;
        this.#firstAttempt.resolve(undefined);
      }
      this.#engineAnswers = false;
      this.#inSync = false;
      await delay(this.#waitMs, undefined, { signal, ref: false }).catch(() => undefined);
      this.#waitMs = Math.min(this.#waitMs * 2, RECONNECT_MOST_MS);
    }
  }

  /** One life of the event stream. Rejects when it ends, since the Engine never ends it by itself. */
  async #follow(): Promise<void> {
    const { engine, onRestart } = this.#options;
    const { signal } = this.#stop;
    await engine.negotiate();
    const events = await engine.events(signal);
    if (this.#wasUp) onRestart();
    this.#wasUp = true;
    this.#engineAnswers = true;
    const over = new AbortController();
    const close = (): void => void events.destroy();
    signal.addEventListener('abort', close, { once: true });
    // The stream is up before the list is asked for, so nothing falls between the two.
    const queue = new EventQueue(event => this.#apply(event));
    const reading = this.#read(events, queue);
    const working = this.#sync().then(() => queue.work());
    try {
      await Promise.race([reading, working, this.#ping(over.signal)]);
      throw new Error('the Engine ended its event stream');
    } finally {
      over.abort();
      signal.removeEventListener('abort', close);
      events.destroy();
      queue.close();
      await Promise.allSettled([working]); // or it would go on beside its successor
    }
  }

  async #sync(): Promise<void> {
    const { engine, log } = this.#options;
    const containers = await engine.listContainers();
    const present = new Set(containers.map(({ Id }) => Id));
    for (const id of this.#known.keys()) if (!present.has(id)) this.#forget(id, { kind: 'removed', containerId: id });
    // Newest first in the list; what is remembered of a name is the fate of the newest, so that comes last.
    for (const container of containers.toReversed()) this.#take(container);
    this.#inSync = true;
    this.#firstAttempt.resolve(undefined);
    if (this.#lost) log.info('engine is back', { endpoint: engine.endpoint.text });
    this.#lost = false;
    this.#waitMs = RECONNECT_FIRST_MS;
  }

  async #read(events: Readable, queue: EventQueue): Promise<void> {
    try {
      await readEvents(events, event => {
        if (event.action !== 'exec_die') queue.push(event);
        else if (!this.#known.get(event.containerId)?.labelsHideExits) {
          this.#options.exits.settle(event.execId, event.containerId, event.exitCode);
        }
      });
    } finally {
      queue.close();
    }
  }

  async #ping(signal: AbortSignal): Promise<void> {
    for (;;) {
      await delay(PING_INTERVAL_MS, undefined, { signal, ref: false });
      await this.#options.engine.ping();
    }
  }

  async #apply(event: EngineEvent): Promise<void> {
    switch (event.action) {
      case 'start':
        this.#startedAt.set(event.containerId, new Date());
        await this.#refresh(event.containerId);
        break;
      case 'rename':
        await this.#refresh(event.containerId);
        break;
      case 'pause':
      case 'unpause':
        this.#setPaused(event.containerId, event.action === 'pause');
        break;
      case 'die':
        this.#forget(event.containerId, {
          kind: 'stopped',
          containerId: event.containerId,
          detail: `exited (${event.exitCode})`,
        });
        break;
      case 'destroy':
        this.#forget(event.containerId, { kind: 'removed', containerId: event.containerId });
        this.#options.registry.rememberRemoved(event.containerId);
        break;
      case 'exec_die': // went its own way in #read
    }
  }

  async #refresh(containerId: string): Promise<void> {
    for (const container of await this.#options.engine.listContainers(containerId)) this.#take(container);
  }

  /** Brings the registry up to date with one container of the Engine's list. */
  #take(container: Docker.ContainerInfo): void {
    const { registry, schemes, handlerFor } = this.#options;
    const containerId = container.Id;
    const engineName = (container.Names[0] ?? '').replace(/^\//, '');
    const name = nameContainer({ engineName, labels: container.Labels }, schemes);
    const state = container.State;
    if (name === undefined) {
      this.#known.get(containerId)?.unregister(); // renamed to what no scheme names
      this.#known.delete(containerId);
      return;
    }
    if (state !== 'running' && state !== 'paused') {
      // Status says how long ago, too, which would soon be wrong.
      const [, exitCode] = /^Exited \((\d+)\)/.exec(container.Status) ?? [];
      const detail = exitCode === undefined ? state : `exited (${exitCode})`;
      if (this.#known.has(containerId)) this.#forget(containerId, { kind: 'stopped', containerId, detail });
      else if (state !== 'created') registry.remember(name.ref, { kind: 'stopped', containerId, detail });
      return;
    }

    const before = this.#known.get(containerId);
    if (before !== undefined && !sameRef(before.container.ref, name.ref)) {
      const { namespace, pod, container: newName } = name.ref;
      registry.remember(before.container.ref, {
        kind: 'renamed',
        containerId,
        newName: `${namespace}/${pod}/${newName}`,
      });
    }
    const createdAt = new Date(container.Created * 1000);
    const labelsHideExits = 'exitCode' in container.Labels || 'execID' in container.Labels;
    this.#register(labelsHideExits, {
      ref: name.ref,
      podUid: name.podUid,
      scheme: name.scheme,
      containerId,
      engineName,
      attempt: name.attempt,
      image: container.Image,
      imageId: container.ImageID,
      createdAt,
      // The list does not say when a container was started. Its creation is the best guess for those started before us.
      startedAt: this.#startedAt.get(containerId) ?? createdAt,
      paused: state === 'paused',
      gone: before?.container.gone ?? new ContainerEnd(), // a renamed container is still the same
      handler: handlerFor(containerId),
    });
  }

  /** From the event alone: the Engine's list still shows the old state for a moment after it (20.10). */
  #setPaused(containerId: string, paused: boolean): void {
    const known = this.#known.get(containerId);
    if (known !== undefined) this.#register(known.labelsHideExits, { ...known.container, paused });
  }

  #register(labelsHideExits: boolean, container: RegisteredContainer): void {
    if (!this.#known.has(container.containerId)) this.#logOtherUid(container);
    this.#known.get(container.containerId)?.unregister();
    const unregister = this.#options.registry.register(container);
    this.#known.set(container.containerId, { container, labelsHideExits, unregister });
  }

  /** Two pods of one name: one replaces the other, or an image's labels claim a name that is not its own. */
  #logOtherUid({ ref, podUid }: RegisteredContainer): void {
    for (const { container: other } of this.#known.values()) {
      const samePod = other.ref.namespace === ref.namespace && other.ref.pod === ref.pod;
      if (!samePod || other.podUid === podUid) continue;
      const uids = [other.podUid, podUid];
      this.#options.log.warn('two pods have one name', { namespace: ref.namespace, pod: ref.pod, uids });
      return;
    }
  }

  #forget(containerId: string, fate: Exclude<Fate, { kind: 'renamed' }>): void {
    const known = this.#known.get(containerId);
    this.#startedAt.delete(containerId);
    if (known === undefined) return;
    this.#known.delete(containerId);
    known.unregister();
    this.#options.registry.remember(known.container.ref, fate);
    const what = fate.kind === 'removed' ? 'was removed' : `stopped: ${fate.detail}`;
    const { ref, gone } = known.container;
    gone.came(new SessionEnded('container_gone', `container ${ref.container} ${what}`));
  }
}

/** Container events that wait for the one before them to be applied. */
class EventQueue {
  readonly #apply: (event: EngineEvent) => Promise<void>;
  readonly #waiting: EngineEvent[] = [];
  #wake = Promise.withResolvers<undefined>();
  #closed = false;

  constructor(apply: (event: EngineEvent) => Promise<void>) {
    this.#apply = apply;
  }

  push(event: EngineEvent): void {
    // An Engine that restarts its containers faster than we can list them is better met with a fresh list.
    if (this.#waiting.length >= 10_000) throw new Error('too many container events are waiting');
    this.#waiting.push(event);
    this.#wake.resolve(undefined);
  }

  /** Drops what still waits: whoever closes the queue lists everything anew. */
  close(): void {
    this.#closed = true;
    this.#waiting.length = 0;
    this.#wake.resolve(undefined);
  }

  /** Applies events until the queue is closed. */
  async work(): Promise<void> {
    for (;;) {
      const event = this.#waiting.shift();
      if (event !== undefined) await this.#apply(event);
      else if (this.#closed) return;
      else {
        await this.#wake.promise;
        this.#wake = Promise.withResolvers();
      }
    }
  }
}

function sameRef(a: ContainerRef, b: ContainerRef): boolean {
  return a.namespace === b.namespace && a.pod === b.pod && a.container === b.container;
}
