import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findExecutable, mustRun, runCommand } from './command.ts';
import { isDebian, unpackPackage } from './debian.ts';

/** The directives of a unit file, each with its values in their order. */
export type Unit = ReadonlyMap<string, readonly string[]>;

/** Reads a unit without line continuations. */
export async function readUnit(file: string): Promise<Unit> {
  const unit = new Map<string, string[]>();
  for (const line of (await readFile(file, 'utf8')).split('\n')) {
    const [, name, value] = /^([A-Za-z]+)=(.*)$/.exec(line) ?? [];
    if (name === undefined || value === undefined) continue;
    unit.set(name, [...(unit.get(name) ?? []), value]);
  }
  return unit;
}

/** systemd-analyze: the one on PATH, else Debian's, which is downloaded into `.cache/` and not installed. */
export class SystemdAnalyze {
  readonly #path: string;
  readonly #env: NodeJS.ProcessEnv;

  private constructor(path: string, env: NodeJS.ProcessEnv) {
    this.#path = path;
    this.#env = env;
  }

  /** @throws where there is none, with what to do */
  static async find(): Promise<SystemdAnalyze> {
    const found = await findExecutable('systemd-analyze');
    if (found !== undefined) return new SystemdAnalyze(found, process.env);
    if (!(await isDebian())) throw new Error('The tests need systemd-analyze. Put it on PATH.');
    const directory = await unpackPackage('systemd', 'bookworm');
    const library = await unpackPackage('libsystemd-shared', 'bookworm');
    const architecture = (await mustRun('uname', ['-m'])).trim();
    const LD_LIBRARY_PATH = join(library, 'usr', 'lib', `${architecture}-linux-gnu`, 'systemd');
    return new SystemdAnalyze(join(directory, 'usr', 'bin', 'systemd-analyze'), { ...process.env, LD_LIBRARY_PATH });
  }

  /** What it finds wrong with a unit; empty where that is nothing. */
  async verify(file: string): Promise<string> {
    const { exitCode, stdout, stderr } = await runCommand(this.#path, ['verify', file], { env: this.#env });
    const said = `${stdout.toString()}${stderr}`;
    return exitCode === 0 ? said : `exit code ${exitCode}\n${said}`;
  }

  /** How exposed the unit is, from 0 to 10. */
  async exposure(file: string): Promise<number> {
    const args = ['security', '--offline=true', '--no-pager', file];
    const said = await mustRun(this.#path, args, { env: this.#env });
    const [, level] = /Overall exposure level for \S+: ([\d.]+)/.exec(said) ?? [];
    if (level === undefined) throw new Error(`systemd-analyze security says no level:\n${said}`);
    return Number(level);
  }

  /** The system calls of a set such as `@system-service`, with those of the sets in it. */
  async systemCalls(set: string): Promise<Set<string>> {
    const said = await mustRun(this.#path, ['syscall-filter', '--no-pager', set], { env: this.#env });
    const calls = new Set<string>();
    for (const [, name = ''] of said.matchAll(/^ {4}([@\w-]+)$/gm)) {
      if (!name.startsWith('@')) calls.add(name);
      else for (const call of await this.systemCalls(name)) calls.add(call);
    }
    return calls;
  }
}
