import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import { Daemon } from '../support/daemon.ts';
import { exitStatus, SUCCESS } from '../support/exec-server.ts';
import { gateCount, gateSize, times } from '../support/gates.ts';
import { Random } from '../support/random.ts';
import { rawExec, TRANSPORTS, type RawExec } from '../support/raw-exec.ts';
import { serveWeb } from '../support/served.ts';
import { StandInEngine, stdcopyFrame, type StandInExec } from '../support/stand-in-engine.ts';

// Execs whose last write coincides with their exit: the output must be whole, and the exit code right.

const REAL_ROUNDS = gateCount(2_000);
const STAND_IN_ROUNDS = gateSize({ full: 20_000, short: 600 });
const MOST_BYTES = 200_000;

/** What the client must be told of one exec. */
interface Expected {
  readonly tty: boolean;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly exitCode: number;
}

function assertWhole(result: RawExec, { stdout, stderr, exitCode }: Expected, which: string): void {
  // Bytes are compared first: a message with all of them would help nobody.
  assert.equal(result.stdout.length, stdout.length, which);
  assert.equal(result.stderr.length, stderr.length, which);
  assert.ok(result.stdout.equals(stdout) && result.stderr.equals(stderr), `${which}: other bytes`);
  assert.equal(result.status, exitCode === 0 ? SUCCESS : exitStatus(exitCode), which);
  assert.equal(result.statuses, 1, which);
  assert.ok(result.complete, which);
}

describe('the real Engine', () => {
  const served = serveWeb();

  for (const transport of TRANSPORTS) {
    test(`${REAL_ROUNDS} short execs over ${transport}: every byte and the exit code`, async () => {
      await times(REAL_ROUNDS, 4, async index => {
        const { command, ...expected } = numberedLines(new Random(index));
        const result = await rawExec(transport, { port: served.daemon.port, command, tty: expected.tty });
        assertWhole(result, expected, `exec ${index}: ${command.join(' ')}`);
      });
      const stray = served.daemon.log.filter(({ level }) => level === 'error');
      assert.deepEqual(stray, []);
    });
  }
});

/** One process that prints lines that each know their number, flushes the last of them as it exits, and exits with a code. */
function numberedLines(random: Random): Expected & { command: string[] } {
  const seed = random.below(1_000_000);
  const lines = random.chance(0.1) ? 0 : random.small(MOST_BYTES / 12);
  const tail = 'no newline at the end'.slice(0, random.below(22));
  const exitCode = random.chance(0.3) ? 0 : random.below(256);
  const awk = `BEGIN { for (i = 0; i < ${lines}; i++) printf "${seed}:%d\\n", i; printf "${tail}"; exit ${exitCode} }`;
  const text = Array.from({ length: lines }, (_, index) => `${seed}:${index}\n`).join('') + tail;
  const [output, none] = [Buffer.from(text), Buffer.alloc(0)];
  const kind = random.below(4);
  if (kind === 0) {
    const onTerminal = Buffer.from(text.replaceAll('\n', '\r\n'));
    return { command: ['awk', awk], tty: true, stdout: onTerminal, stderr: none, exitCode };
  }
  if (kind === 1) {
    return { command: ['sh', '-c', 'exec awk "$0" >&2', awk], tty: false, stdout: none, stderr: output, exitCode };
  }
  return { command: ['awk', awk], tty: false, stdout: output, stderr: none, exitCode };
}

describe('a stand-in for the Engine', () => {
  const scripts = new Map<string, Script>();
  let engine: StandInEngine;
  let daemon: Daemon;
  before(async () => {
    engine = await StandInEngine.start({
      play: (connection, exec) => void play(scriptOf(exec), connection, exec),
      inspect: exec => {
        const script = scripts.get(exec.command[0] ?? '');
        if (script === undefined) return undefined; // the event was faster, and the client has gone
        const over = script.ended && --script.inspectionsBehind < 0;
        return { Running: !over, ExitCode: over ? script.exitCode : null, Pid: 4711 };
      },
    });
    daemon = await Daemon.start({ engine });
  });
  after(async () => {
    await daemon.stop();
    await engine.stop();
  });

  function scriptOf({ command: [name = ''] }: StandInExec): Script {
    const script = scripts.get(name);
    assert.ok(script !== undefined, name);
    return script;
  }

  for (const transport of TRANSPORTS) {
    test(`${STAND_IN_ROUNDS} short execs over ${transport}, their last frame, end and exit event in every order`, async () => {
      await times(STAND_IN_ROUNDS, 16, async index => {
        const name = `${transport}-${index}`;
        const script = writeScript(new Random(index));
        scripts.set(name, script);
        const result = await rawExec(transport, { port: daemon.port, command: [name], tty: script.tty });
        assertWhole(result, script, name);
        scripts.delete(name);
      });
    });
  }
});

/** How the stand-in plays one exec. */
interface Script extends Expected {
  /** What is written on the connection, write by write. */
  readonly writes: readonly Buffer[];
  /** The connection ends with the last write, and not after it. */
  readonly endsInLastWrite: boolean;
  /** Before which step `exec_die` is sent; none where only the inspection tells. The steps are the writes, and the end. */
  readonly exitBeforeStep: number | undefined;
  readonly random: Random;
  /** How often the inspection still says Running after the end. */
  inspectionsBehind: number;
  ended: boolean;
}

const SOURCE = randomBytes(2 * MOST_BYTES);
const MOST_FRAME_BYTES = 32_768;

function writeScript(random: Random): Script {
  const tty = random.chance(0.25);
  const bytes = random.chance(0.05) ? 0 : random.small(MOST_BYTES);
  const offset = random.below(SOURCE.length - bytes);
  const output = SOURCE.subarray(offset, offset + bytes);
  const frames: Buffer[] = [];
  const byStream: Record<1 | 2, Buffer[]> = { 1: [], 2: [] };
  for (let at = 0; at < bytes;) {
    const chunk = output.subarray(at, at + 1 + random.below(MOST_FRAME_BYTES));
    const stream = !tty && random.chance(0.3) ? 2 : 1;
    byStream[stream].push(chunk);
    frames.push(tty ? chunk : stdcopyFrame(stream, chunk));
    at += chunk.length;
  }
  const last = frames.pop() ?? Buffer.alloc(0);
  // The last frame is cut anywhere, in its header too; what comes before it may come with its first piece.
  const writes = [...cut(Buffer.concat(frames), random), ...cut(last, random)];
  if (random.chance(0.3) && writes.length > 1) writes.splice(-2, 2, Buffer.concat(writes.slice(-2)));
  const steps = writes.length + 1;
  return {
    tty,
    stdout: Buffer.concat(byStream[1]),
    stderr: Buffer.concat(byStream[2]),
    exitCode: random.chance(0.3) ? 0 : random.below(256),
    writes,
    endsInLastWrite: writes.length > 0 && random.chance(0.4),
    // Mostly around the last frame and the end; `steps` is after all of them.
    exitBeforeStep: random.chance(0.1)
      ? undefined
      : Math.max(0, steps - random.below(random.chance(0.2) ? steps + 1 : 4)),
    random,
    inspectionsBehind: random.below(2),
    ended: false,
  };
}

function cut(bytes: Buffer, random: Random): Buffer[] {
  if (bytes.length === 0) return [];
  const places = Array.from({ length: random.below(3) }, () => random.below(bytes.length)).sort((a, b) => a - b);
  const pieces = [0, ...places].map((place, index) => bytes.subarray(place, places[index] ?? bytes.length));
  return pieces.filter(piece => piece.length > 0);
}

async function play(script: Script, connection: Duplex, exec: StandInExec): Promise<void> {
  const { writes, endsInLastWrite, exitBeforeStep, exitCode, random } = script;
  for (let step = 0; step <= writes.length + 1; step += 1) {
    await aMoment(random);
    if (step === exitBeforeStep) {
      exec.sendExit(exitCode);
      await aMoment(random);
    }
    const bytes = writes[step];
    if (bytes !== undefined && endsInLastWrite && step === writes.length - 1) connection.end(bytes);
    else if (bytes !== undefined) connection.write(bytes);
    else if (step === writes.length) connection.end(); // a second end does nothing
    if (step === writes.length) script.ended = true;
  }
}

/** Nothing at all, a microtask, or up to three turns of the event loop. */
async function aMoment(random: Random): Promise<void> {
  const turns = random.below(5) - 1;
  if (turns < 0) return;
  if (turns === 0) await Promise.resolve();
  for (let turn = 0; turn < turns; turn += 1) await new Promise(setImmediate);
}
