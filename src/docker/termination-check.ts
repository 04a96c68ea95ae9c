import type Docker from 'dockerode';
import { ExecletError } from '../errors.ts';
import type { Engine } from './engine.ts';
import type { ProcessTable } from './process-table.ts';

/** One thing that the termination of commands needs: whether it is there, and what to do where it is not. */
export interface TerminationCheck {
  readonly result: 'ok' | 'problem' | 'not checked';
  readonly text: string;
}

/** As much of the Engine's list as is looked at. */
export type ListedContainer = Pick<Docker.ContainerInfo, 'Id' | 'Names' | 'State'>;

export interface TerminationChecks {
  readonly engine: Pick<Engine, 'endpoint' | 'local' | 'mainPid'>;
  /** As the Engine lists them, running or not. */
  readonly containers: readonly ListedContainer[];
  readonly processes: ProcessTable;
  /** The text of /proc/self/status. */
  readonly ownStatus: string;
}

/** The number of CAP_KILL in a set of capabilities (capabilities(7)). */
const CAP_KILL = 5n;

/** The main process of a container that runs. */
interface Main {
  readonly name: string;
  readonly containerId: string;
  readonly pid: number;
}

/** Whether commands can be ended whose clients have gone: what is checked before the first has. Never rejects. */
export async function checkTermination({
  engine,
  containers,
  processes,
  ownStatus,
}: TerminationChecks): Promise<readonly TerminationCheck[]> {
  if (!engine.local) {
    const text = `the Engine at ${engine.endpoint.text} is not reached by a Unix socket: run execlet on its host, to signal processes there`;
    return [{ result: 'problem', text }];
  }
  try {
    const mains = await mainProcesses(engine, containers);
    return [checkSeen(mains, processes), checkRight(mains, processes, ownStatus)];
  } catch (cause) {
    const { message } = ExecletError.from(cause);
    return [
      { result: 'problem', text: `whether the processes of containers are seen here cannot be told: ${message}` },
    ];
  }
}

async function mainProcesses(
  engine: TerminationChecks['engine'],
  containers: TerminationChecks['containers'],
): Promise<readonly Main[]> {
  const running = containers.filter(({ State }) => State === 'running');
  const mains = await Promise.all(running.map(container => mainOf(engine, container)));
  return mains.filter(main => main !== undefined);
}

/** Undefined where it has ended meanwhile. */
async function mainOf(
  engine: TerminationChecks['engine'],
  { Id: containerId, Names }: ListedContainer,
): Promise<Main | undefined> {
  const name = engineNameOf({ Id: containerId, Names });
  try {
    const pid = await engine.mainPid(containerId);
    return pid === 0 ? undefined : { name, containerId, pid };
  } catch (cause) {
    if (cause instanceof ExecletError && cause.code === 'HandlerNotFound') return undefined;
    throw cause;
  }
}

/** As people know it. */
export function engineNameOf({ Id, Names }: Pick<ListedContainer, 'Id' | 'Names'>): string {
  return Names[0]?.replace(/^\//, '') ?? Id;
}

function checkSeen(mains: readonly Main[], processes: ProcessTable): TerminationCheck {
  if (mains.length === 0) {
    const text = 'whether the processes of containers are seen here: no container runs; start one, and ask again';
    return { result: 'not checked', text };
  }
  const unseen = mains.find(({ pid, containerId }) => !processes.isIn(pid, containerId));
  if (unseen === undefined) return { result: 'ok', text: 'the processes of containers are seen here' };
  const what = `process ${unseen.pid} of container ${unseen.name} is not seen here`;
  const cure = "give execlet the host's pid namespace (hostPID: true; docker run --pid=host)";
  return { result: 'problem', text: `${what}: ${cure}` };
}

function checkRight(mains: readonly Main[], processes: ProcessTable, ownStatus: string): TerminationCheck {
  const mayAlways = mayKill(ownStatus);
  const seen = mains.filter(({ pid, containerId }) => processes.isIn(pid, containerId));
  const refused = seen.find(({ pid }) => !maySignal(pid, processes));
  const cure = 'run execlet as root with the capability KILL';
  if (refused !== undefined) {
    const text = `process ${refused.pid} of container ${refused.name} may not be signalled: ${cure}`;
    return { result: 'problem', text };
  }
  if (mayAlways) return { result: 'ok', text: 'processes of every user may be signalled' };
  const text = 'only processes of its own user may be signalled';
  if (seen.length === 0) return { result: 'problem', text: `${text}: ${cure}` };
  return { result: 'ok', text: `the containers that run may be signalled; elsewhere ${text}` };
}

function maySignal(pid: number, processes: ProcessTable): boolean {
  try {
    processes.kill(pid, 0);
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code !== 'EPERM'; // it may have ended
  }
  return true;
}

/** Whether the effective set of proc(5)'s status holds CAP_KILL. */
function mayKill(status: string): boolean {
  const [, effective = '0'] = /^CapEff:\s*([0-9a-f]+)$/m.exec(status) ?? [];
  return ((BigInt(`0x${effective}`) >> CAP_KILL) & 1n) === 1n;
}
