import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Daemon } from '../support/daemon.ts';
import { withoutSessionName } from '../support/session-name.ts';
import { StandInEngine, stdcopyFrame, type StandInOptions } from '../support/stand-in-engine.ts';
import { execOverWebSocket, type WebSocketExec } from '../support/websocket-client.ts';

interface Status {
  readonly status: string;
  readonly message?: string;
  readonly details?: { readonly causes: readonly { readonly reason?: string; readonly message: string }[] };
}

interface Played {
  readonly result: WebSocketExec;
  readonly status: Status;
  /** The reason in the failure Status. */
  readonly reason: string | undefined;
  readonly engine: StandInEngine;
}

async function play(context: TestContext, options: StandInOptions, streams = 'output=1&error=1'): Promise<Played> {
  const engine = await StandInEngine.start(options);
  const daemon = await Daemon.start({ engine, args: ['--engine-timeout', '2s'] });
  context.after(async () => {
    await daemon.stop();
    await engine.stop();
  });
  const url = `ws://127.0.0.1:${daemon.port}/exec/default/web/app?command=x&${streams}`;
  const sizes = streams.includes('tty=1') ? [{ Width: 80, Height: 24 }] : [];
  const result = await execOverWebSocket({ url, protocols: ['v4.channel.k8s.io'], sizes });
  const status = JSON.parse(result.status) as Status;
  const reason = status.details?.causes.find(cause => cause.reason === 'ExecletReason')?.message;
  return { result, status, reason, engine };
}

test('the exit code of the event comes before that of the inspection', async context => {
  const { status } = await play(context, {
    play: (connection, exec) => {
      connection.end(stdcopyFrame(1, 'hi\n'));
      exec.sendExit(7);
    },
    inspect: () => ({ Running: false, ExitCode: 99, Pid: 1 }),
  });
  assert.deepEqual(status.details?.causes, [{ reason: 'ExitCode', message: '7' }]);
});

test('without an event the inspection gives the exit code, also when it comes late', async context => {
  let inspections = 0;
  const { status } = await play(context, {
    play: connection => connection.end(),
    inspect: () => ({ Running: (inspections += 1) < 3, ExitCode: inspections < 3 ? null : 5, Pid: 1 }),
  });
  assert.deepEqual(status.details?.causes, [{ reason: 'ExitCode', message: '5' }]);
  assert.equal(inspections, 3);
});

test('an inspection that is answered late says nothing about the time since, and is asked again', async context => {
  let inspections = 0;
  const { status } = await play(context, {
    play: connection => connection.end(),
    inspect: async () => {
      inspections += 1;
      if (inspections > 1) return { Running: false, ExitCode: 6, Pid: 1 };
      return delay(1_500, { Running: true, ExitCode: null, Pid: 1 }); // longer than a command may run after its output
    },
  });
  assert.deepEqual(status.details?.causes, [{ reason: 'ExitCode', message: '6' }]);
});

test('an exit code that nobody knows is a failure, never success', async context => {
  const { status, result } = await play(context, {
    play: connection => connection.end(stdcopyFrame(1, 'all of it')),
    inspect: () => ({ Running: true, ExitCode: null, Pid: 1 }),
  });
  assert.equal(status.status, 'Failure');
  assert.match(status.message ?? '', /the exit status is unknown/);
  assert.equal(result.stdout.toString(), 'all of it');
});

test('output that ends while the command runs is a failure, whatever the command exits with later', async context => {
  const { status, result } = await play(context, {
    play: (connection, exec) => {
      connection.end(stdcopyFrame(1, 'half'));
      setTimeout(() => exec.sendExit(0), 1_500);
    },
    inspect: () => ({ Running: true, ExitCode: null, Pid: 1 }),
  });
  assert.equal(status.status, 'Failure');
  assert.match(status.message ?? '', /the output has ended, but the command was still running/);
  assert.equal(result.stdout.toString(), 'half');
});

test("a start failure's text is a failure Status and not output, whichever code the Engine's version gives it", async context => {
  for (const ExitCode of [126, 127, 128]) {
    const { status, reason, result } = await play(context, {
      play: connection => connection.end(stdcopyFrame(1, 'OCI runtime exec failed: exec failed: nope\r\n')),
      inspect: () => ({ Running: false, ExitCode, Pid: 0 }),
    });
    assert.equal(reason, 'start_failed');
    assert.match(
      withoutSessionName(status.message ?? ''),
      /error executing command in container: OCI runtime exec failed: exec failed: nope$/,
    );
    assert.equal(result.stdout.length, 0);
  }
});

test("a program's own 126 and 127 are its exit codes, and what it prints is its output", async context => {
  for (const exitCode of [126, 127]) {
    const { status, result } = await play(context, {
      play: (connection, exec) => {
        connection.end(stdcopyFrame(1, 'OCI runtime exec failed: I am only a test\n'));
        exec.sendExit(exitCode);
      },
      inspect: () => ({ Running: true, ExitCode: null, Pid: 4711 }),
    });
    assert.deepEqual(status.details?.causes, [{ reason: 'ExitCode', message: String(exitCode) }]);
    assert.equal(result.stdout.toString(), 'OCI runtime exec failed: I am only a test\n');
  }
});

test('a proxy that answers 200 instead of 101 is named', async context => {
  const { status } = await play(context, {
    withoutUpgrade: true,
    play: connection => connection.destroy(),
  });
  assert.equal(status.status, 'Failure');
  assert.match(status.message ?? '', /a proxy in front of the Engine blocks the connection upgrade/);
});

test('a stream that is cut off inside a frame, or is none, is a failure', async context => {
  const broken = [
    stdcopyFrame(1, 'half', 100),
    Buffer.from('HTTP/1.1 nonsense'),
    stdcopyFrame(1, 'x', 0xffffffff),
    stdcopyFrame(3, 'the disk is on fire'),
    stdcopyFrame(3, 'x'.repeat(1_000_000)),
    stdcopyFrame(0, 'stdin has no way back'),
    stdcopyFrame(255, 'x'),
    stdcopyFrame(1, '', 0xffff_ffff),
    stdcopyFrame(1, 'x'.repeat(1_000_000), 16 * 1024 * 1024 + 1),
    stdcopyFrame(1, 'x').subarray(0, 4),
    Buffer.alloc(1_000_000),
    Buffer.concat([stdcopyFrame(1, 'x'), Buffer.alloc(1_000_000, 0xff)]),
  ];
  for (const bytes of broken) {
    const { status, reason } = await play(context, {
      play: (connection, exec) => {
        connection.end(bytes);
        exec.sendExit(0);
      },
    });
    assert.equal(status.status, 'Failure', bytes.toString('latin1', 0, 100));
    assert.equal(reason, 'engine_gone');
  }
});

test('100 000 frames without a byte are not in the way of the output', async context => {
  const { status, result } = await play(context, {
    play: (connection, engine) => {
      connection.end(Buffer.concat([Buffer.alloc(800_000, stdcopyFrame(1, '')), stdcopyFrame(1, 'all of it')]));
      engine.sendExit(0);
    },
  });
  assert.equal(status.status, 'Success');
  assert.equal(result.stdout.toString(), 'all of it');
});

test('an Engine that goes in the middle of a session is a failure', async context => {
  const { status, reason } = await play(context, {
    play: (connection, { engine }) => {
      connection.write(stdcopyFrame(1, 'some'));
      setImmediate(() => void engine.stop().then(() => connection.destroy()));
    },
  });
  assert.equal(status.status, 'Failure');
  assert.equal(reason, 'engine_gone');
});

test('the terminal size goes with the start where the API has it, and is not sent to an older Engine', async context => {
  const consoleSize = async (apiVersion: string): Promise<unknown> => {
    const { engine } = await play(
      context,
      {
        apiVersion,
        play: (connection, exec) => {
          connection.end();
          exec.sendExit(0);
        },
      },
      'input=1&output=1&tty=1',
    );
    const start = engine.calls.find(({ path }) => path.endsWith('/start'));
    assert.ok(start !== undefined);
    assert.ok(start.path.startsWith(`/v${apiVersion}/`), start.path);
    return (start.body as { ConsoleSize?: unknown }).ConsoleSize;
  };
  assert.equal(await consoleSize('1.41'), undefined);
  assert.deepEqual(await consoleSize('1.44'), [24, 80]);
});

test('an event for another container says nothing about this exec', async context => {
  const { status } = await play(context, {
    play: (connection, exec) => {
      connection.end();
      exec.sendExit(0, 'd'.repeat(64));
    },
    inspect: () => ({ Running: false, ExitCode: 9, Pid: 1 }),
  });
  assert.deepEqual(status.details?.causes, [{ reason: 'ExitCode', message: '9' }]);
});

test('stdout and stderr are always attached, and the detach keys are none that anybody types', async context => {
  const { engine } = await play(
    context,
    {
      play: (connection, exec) => {
        connection.end();
        exec.sendExit(0);
      },
    },
    'error=1',
  );
  const create = engine.calls.find(({ path }) => path.endsWith('/exec'));
  assert.deepEqual(create?.body, {
    Cmd: ['x'],
    Tty: false,
    AttachStdin: false,
    AttachStdout: true,
    AttachStderr: true,
    DetachKeys: 'ctrl-^,ctrl-_,ctrl-^,ctrl-_,ctrl-^,ctrl-_',
  });
});

test('an exec that ends while the event stream is down ends with the exit code of the inspection', async context => {
  const { status, result, engine } = await play(context, {
    play: (connection, exec) => {
      exec.engine.breakEvents();
      connection.write(stdcopyFrame(1, 'all '));
      setImmediate(() => {
        exec.sendExit(3); // nobody hears it
        connection.end(stdcopyFrame(1, 'of it'));
      });
    },
    inspect: () => ({ Running: false, ExitCode: 4, Pid: 1 }),
  });
  assert.deepEqual(status.details?.causes, [{ reason: 'ExitCode', message: '4' }]);
  assert.equal(result.stdout.toString(), 'all of it');
  engine.resumeEvents();
});

test('an exec that its Engine does not know any more is a failure that says so, never success', async context => {
  for (const streams of ['output=1&error=1', 'input=1&output=1&tty=1']) {
    const played = await play(
      context,
      {
        play: (connection, exec) => {
          exec.engine.forgetExecs();
          connection.end(streams.includes('tty') ? 'all of it' : stdcopyFrame(1, 'all of it'));
        },
      },
      streams,
    );
    assert.equal(played.status.status, 'Failure');
    assert.equal(played.reason, 'engine_gone');
    assert.match(played.status.message ?? '', /the exit status is unknown: No such exec instance/);
    assert.equal(played.result.stdout.toString(), 'all of it');
  }
});
