import { EventEmitter } from 'node:events';
import { readdirSync } from 'node:fs';
import { Socket } from 'node:net';
import { queryObjects } from 'node:v8';
import type { ContainerEnd } from '../../src/exec/container-end.ts';
import { HandlerRegistry, type RegisteredContainer } from '../../src/exec/handler-registry.ts';

// Preloaded into the daemon's process: answers every message of its parent with what the process holds.

/** What must be after ten thousand clients as it was before them, and the heap, which may differ a little. */
export interface Insides {
  /** Sockets, pipes, timers … that keep the event loop alive, by kind. */
  readonly resources: Readonly<Record<string, number>>;
  readonly fds: number;
  /** Who listens for the ends of the registered containers, which outlive every session. */
  readonly goneListeners: number;
  /** Objects that are reachable, by class and with its subclasses; unlike the resources also timers without a reference. */
  readonly objects: Readonly<Record<string, number>>;
  readonly heapBytes: number;
}

const CLASSES = { AbortSignal, EventEmitter, Socket, Timeout: timeoutClass() };

// The daemon hands its registry to nobody, so the containers' ends are noted where they enter it.
const ends = new Set<ContainerEnd>();
const methods = Object.getOwnPropertyDescriptors(HandlerRegistry.prototype);
const original = Object.create(null, methods) as HandlerRegistry;
HandlerRegistry.prototype.register = function (container: RegisteredContainer) {
  ends.add(container.gone);
  return original.register.call(this, container);
};

process.on('message', () => process.send?.(insides()));
process.channel?.unref();

function insides(): Insides {
  globalThis.gc?.();
  globalThis.gc?.();
  const resources: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo().sort()) resources[kind] = (resources[kind] ?? 0) + 1;
  const { heapUsed } = process.memoryUsage();
  return {
    resources,
    fds: readdirSync('/proc/self/fd').length,
    goneListeners: [...ends].reduce((sum, { listeners }) => sum + listeners, 0),
    objects: Object.fromEntries(Object.entries(CLASSES).map(([name, of]) => [name, Number(queryObjects(of))])),
    heapBytes: heapUsed,
  };
}

function timeoutClass(): new () => object {
  const timeout = setTimeout(() => undefined, 0);
  clearTimeout(timeout);
  return timeout.constructor as new () => object;
}
