import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import type { TestContainer } from '../../support/containers.ts';
import type { AskedExec, StreamName, WireCapabilities, WireExec } from '../../support/wire.ts';

// The behaviour of exec, one row each: what is asked, what the client does meanwhile, and what must arrive. Every row runs
// over every wire that can do it; what holds for every row alike is judged by the wires themselves (their `faults`): how the
// session is opened and closed, no byte where none belongs, the status after the last of the output.

export interface Row {
  /** Of the checklist, see items.ts. */
  readonly items: readonly number[];
  readonly title: string;
  /** With a terminal, without, or one after the other; without unless said otherwise. */
  readonly tty?: 'yes' | 'both';
  /** What a wire must be able to do; every wire can do the rest. */
  readonly where?: (wire: WireCapabilities) => boolean;
  /** A string is a script for `sh -c`. */
  readonly command: string | readonly string[];
  /** stdout and stderr unless given. */
  readonly streams?: readonly StreamName[];
  readonly readBytesPerSecond?: number;
  /** What the client does once the streams are open; what it sends must end the command, or leave that to itself. */
  readonly client?: (exec: WireExec, context: RowContext) => Promise<void>;
  /** Exactly that; over a terminal each line ends as a terminal ends it. Nothing unless given. */
  readonly stdout?: string | Buffer | RegExp | ((stdout: string) => void);
  readonly stderr?: string | Buffer;
  /** 0 unless given. */
  readonly exitCode?: number;
  /** The command is not the one that ended it: the status is a failure with such a message. */
  readonly failure?: RegExp;
  /** The client leaves: no status can arrive, and the session must end with this reason. Such rows run one at a time. */
  readonly endsAs?: 'client_gone';
}

export interface RowContext {
  readonly wire: WireCapabilities;
  /** To look at the container past execlet. */
  readonly container: TestContainer;
  /** Another exec on the same wire, at the same time. */
  readonly open: (asked: AskedExec) => Promise<WireExec>;
}

const ALL: readonly StreamName[] = ['stdin', 'stdout', 'stderr'];
const MEBIBYTE = 1024 * 1024;

const inputEnds = (wire: WireCapabilities): boolean => wire.inputEnds;
const noEndOfInput = (wire: WireCapabilities): boolean => !wire.inputEnds;
const resizes = (wire: WireCapabilities): boolean => wire.resizes;

/** Sends all input at once and half-closes where the wire can. */
function typing(input: string | Buffer) {
  return async (exec: WireExec, { wire }: RowContext): Promise<void> => {
    await exec.send(input);
    if (wire.inputEnds) await exec.endInput();
  };
}

// The Engine withholds the first of its detach keys (Ctrl-^) on a terminal until another key follows, so it may not come last.
const random = Buffer.concat([randomBytes(100_000), Buffer.from('.')]);
const CHUNK_BYTES = [1, 2, 255, 4_096, 32_767, 32_768, 32_769, 65_536, 3_000_001] as const;
/** For each size of chunks as much data as shows it: a thousand single bytes, and several megabytes in one piece. */
const chunked = CHUNK_BYTES.map(bytes => ({
  bytes,
  data: randomBytes(Math.max(Math.min(bytes * 1_000, 100_000), bytes)),
}));
const allChunks = Buffer.concat(chunked.map(({ data }) => data));
const lines = (count: number, prefix = ''): string =>
  Array.from({ length: count }, (_, index) => `${prefix}${index + 1}\n`).join('');

export const ROWS: readonly Row[] = [
  // Output, exit code, arguments
  {
    items: [1, 7, 18],
    title: 'the output is exactly what the command wrote',
    tty: 'both',
    command: ['echo', 'running in container'],
    stdout: 'running in container\n',
  },
  {
    items: [2],
    title: 'an argument of 20 000 characters comes back whole',
    tty: 'both',
    command: ['echo', 'x'.repeat(20_000)],
    stdout: `${'x'.repeat(20_000)}\n`,
  },
  {
    items: [13],
    title: 'each argument arrives as it was sent',
    tty: 'both',
    command: ['printf', '[%s]', 'ls', '-a', 'two words', '', 'ü&=%+#?"\'$HOME', 'a\nb'],
    stdout: '[ls][-a][two words][][ü&=%+#?"\'$HOME][a\nb]',
  },
  {
    items: [13],
    title: 'a terminal has no error output of its own',
    tty: 'yes',
    command: 'echo out; echo err >&2',
    stdout: 'out\nerr\n',
  },
  { items: [5], title: 'exit code 0', tty: 'both', command: 'exit 0' },
  { items: [5, 25], title: 'exit code 42', tty: 'both', command: 'exit 42', exitCode: 42 },
  { items: [23], title: "a program's own 126, which is not the runtime's", command: 'exit 126', exitCode: 126 },
  { items: [23], title: 'exit code 255', command: 'exit 255', exitCode: 255 },
  { items: [23], title: 'death by a signal is 128 + n', command: 'kill -9 $$', exitCode: 137 },
  {
    items: [23],
    title: 'a command that cannot be started is a failure that says so, and no output',
    tty: 'both',
    command: ['/no/such/command'],
    failure: /^(Internal error occurred: )?error executing command in container: .*\/no\/such\/command/,
  },
  {
    items: [12],
    title: 'only stdout is asked for',
    streams: ['stdout'],
    command: 'echo out; echo err >&2',
    stdout: 'out\n',
  },
  {
    items: [12],
    title: 'only stderr is asked for',
    streams: ['stderr'],
    command: 'echo out; echo err >&2',
    stderr: 'err\n',
  },
  {
    items: [12],
    title: 'only stdin is asked for',
    streams: ['stdin'],
    command: 'read code; echo out; echo err >&2; exit $code',
    client: typing('6\n'),
    exitCode: 6,
  },
  { items: [33], title: 'an exit code without any output', tty: 'both', command: 'exit 3', exitCode: 3 },
  { items: [33], title: 'output without a line end', tty: 'both', command: ['printf', 'abc'], stdout: 'abc' },
  { items: [33], title: 'error output only', command: 'echo err >&2; exit 4', stderr: 'err\n', exitCode: 4 },
  {
    items: [33],
    title: 'each output keeps its order when both are written in turns',
    command: 'i=0; while [ $i -lt 500 ]; do i=$((i+1)); echo o$i; echo e$i >&2; done',
    stdout: lines(500, 'o'),
    stderr: lines(500, 'e'),
  },
  {
    items: [24],
    title: 'a megabyte of output of a command that exits at once is whole, and so is its exit code',
    command: 'seq 1 150000; exit 9',
    stdout: lines(150_000),
    exitCode: 9,
  },
  {
    items: [24],
    title: 'thousands of lines at a terminal are whole',
    tty: 'yes',
    command: 'seq 1 10000',
    stdout: lines(10_000),
  },
  {
    items: [32],
    title: 'a client that reads 2 MiB a second gets 6 MiB whole while the command runs, and its exit code',
    streams: ['stdin', 'stdout'],
    readBytesPerSecond: 2 * MEBIBYTE,
    command: `yes 0123456789abcde | head -c ${6 * MEBIBYTE}; read -r line; exit 9`,
    // The command waits for our line, so that it runs all the time: what the Engine drops after an exit is not the matter here.
    client: async exec => {
      await exec.receives(6 * MEBIBYTE);
      await exec.send('go on\n');
    },
    stdout: '0123456789abcde\n'.repeat((6 * MEBIBYTE) / 16),
    exitCode: 9,
  },

  // Input
  {
    items: [3],
    title: 'the end of the input ends a command that reads it',
    where: inputEnds,
    streams: ALL,
    command: ['cat'],
    client: typing('abcd1234'),
    stdout: 'abcd1234',
  },
  {
    items: [3],
    title: 'the end of an empty input reaches the command',
    where: inputEnds,
    streams: ALL,
    command: ['wc', '-c'],
    client: typing(''),
    stdout: '0\n',
  },
  {
    items: [3],
    title: 'output that is written after the end of the input arrives',
    where: inputEnds,
    streams: ALL,
    command: 'cat; seq 1 50000; echo late >&2; exit 7',
    client: typing('input\n'),
    stdout: `input\n${lines(50_000)}`,
    stderr: 'late\n',
    exitCode: 7,
  },
  {
    items: [3],
    title: 'what a client sends after the end of its input is not heard',
    where: inputEnds,
    streams: ALL,
    command: ['cat'],
    client: async exec => {
      await exec.send('before');
      await exec.endInput();
      await exec.send('after');
    },
    stdout: 'before',
  },
  {
    items: [4],
    title: 'a shell that is fed through a pipe which stays open ends the session when it exits',
    streams: ALL,
    command: ['sh'],
    client: async exec => exec.send('echo hi\nexit 5\n'),
    stdout: 'hi\n',
    exitCode: 5,
  },
  {
    items: [4, 19],
    title: 'a shell at a terminal ends the session when it exits',
    tty: 'yes',
    streams: ALL,
    command: ['sh'],
    client: async exec => exec.send('echo $((6*7))\nexit 5\n'),
    stdout: stdout => assert.match(stdout, /\r\n42\r\n/),
    exitCode: 5,
  },
  {
    items: [19],
    title: 'the session ends with the command although the input is held open',
    tty: 'both',
    streams: ALL,
    command: ['echo', 'hello'],
    stdout: 'hello\n',
  },
  {
    items: [19],
    title: "the end of a terminal's input ends neither the output nor the command",
    tty: 'yes',
    where: inputEnds,
    streams: ALL,
    command: 'f=$(mktemp -u); mkfifo $f; echo "<$f>"; cat $f; exit 5',
    client: async (exec, { container }) => {
      await exec.endInput();
      assert.ok(await exec.ping(), 'the end of the input has been read');
      const fifo = fifoIn(await exec.receives('>'));
      await container.exec(['sh', '-c', `echo still here >${fifo}`]);
    },
    stdout: /^<\S+>\r\nstill here\r\n$/,
    exitCode: 5,
  },
  {
    items: [19],
    title: 'at a terminal ^D ends the input, on every wire',
    tty: 'yes',
    streams: ALL,
    command: 'stty -echo; echo ready; cat; exit 5',
    client: async exec => {
      await exec.receives('ready');
      await exec.send('typed\n\x04');
    },
    stdout: 'ready\ntyped\n',
    exitCode: 5,
  },
  {
    items: [24],
    title: 'random data in chunks of 1 byte to 3 MB comes back byte for byte on both outputs',
    streams: ALL,
    command: `head -c ${allChunks.length} | tee /dev/stderr`,
    client: async exec => {
      for (const { bytes, data } of chunked) await exec.send(data, bytes);
    },
    stdout: allChunks,
    stderr: allChunks,
  },
  {
    items: [24],
    title: 'random data comes back byte for byte through a terminal in raw mode',
    tty: 'yes',
    streams: ALL,
    command: `stty raw -echo; printf 'ready>'; head -c ${random.length}`,
    client: async exec => {
      await exec.receives('ready>');
      await exec.send(random);
    },
    stdout: Buffer.concat([Buffer.from('ready>'), random]),
  },
  {
    items: [24],
    title: 'three execs at the same time do not mix their data',
    streams: ALL,
    command: ['head', '-c', String(random.length)],
    client: async (exec, { open }) => {
      const others = Array.from({ length: 2 }, async () => {
        const data = randomBytes(random.length);
        const other = await open({
          command: ['head', '-c', String(data.length)],
          streams: ['stdin', 'stdout'],
          tty: false,
        });
        await other.send(data);
        assert.ok((await other.end()).stdout.equals(data));
      });
      await Promise.all([exec.send(random), ...others]);
    },
    stdout: random,
  },
  {
    items: [8],
    title: 'tar packs, byte for byte',
    command: 'd=$(mktemp -d); seq 1 30000 >$d/data; tar -cf - -C $d data; rm -r $d',
    streams: ['stdout', 'stderr'],
    stdout: archive => assert.equal(hash(contentOf(archive)), hash(lines(30_000))),
  },
  {
    items: [8],
    title: 'tar unpacks and packs again, byte for byte',
    where: inputEnds, // tar reads to the end
    streams: ALL,
    command: 'd=$(mktemp -d); tar -xf - -C $d; tar -cf - -C $d data; rm -r $d',
    client: typing(archiveOf(random)),
    stdout: archive => assert.equal(hash(contentOf(archive)), hash(random.toString('latin1'))),
  },
  {
    items: [35],
    title: 'input that still arrives after the exit is drained, and costs none of the output',
    streams: ALL,
    command: 'head -c 5; seq 1 100000; exit 8',
    client: async exec => exec.send(Buffer.alloc(8 * MEBIBYTE, 'x')),
    stdout: `xxxxx${lines(100_000)}`,
    exitCode: 8,
  },

  // The terminal
  {
    items: [26],
    title: 'sizes reach the terminal in order, and the newest always',
    tty: 'yes',
    where: resizes,
    streams: ALL,
    command:
      'last=; until [ "$last" = "31 97" ]; do s=$(stty size); [ "$s" = "$last" ] || echo "<$s>"; last=$s; sleep 0.02; done',
    client: async exec => {
      await exec.resize({ width: 41, height: 11 });
      await exec.receives('<11 41>');
      await exec.resize({ width: 42, height: 12 });
      await exec.receives('<12 42>');
      for (let step = 1; step <= 50; step += 1) await exec.resize({ width: 42 + step, height: 12 });
      await exec.resize({ width: 97, height: 31 });
    },
    stdout: stdout => {
      const widths = [...stdout.matchAll(/<\d+ (\d+)>/g)].map(([, width]) => Number(width));
      const ours = widths.slice(widths.indexOf(41)); // before the first size a terminal has one of its own
      assert.deepEqual([ours[0], ours[1], ours.at(-1)], [41, 42, 97]);
      assert.deepEqual(
        ours,
        ours.toSorted((a, b) => a - b),
      );
    },
  },

  // The connection
  {
    items: [27],
    title: 'PINGs are answered while the command runs, silent or not',
    tty: 'both',
    streams: ALL,
    command: 'echo ready; read -r line; seq 1 5000; read -r line',
    client: async exec => {
      await exec.receives('ready');
      assert.ok(await exec.ping());
      await exec.send('go\n');
      assert.ok(await exec.ping());
      await exec.receives('5000');
      assert.ok(await exec.ping());
      await exec.send('end\n');
    },
    stdout: stdout => assert.match(stdout, /^ready\r?\n(go\r\n)?1\r?\n[^]*5000\r?\n(end\r\n)?$/),
  },
  {
    items: [28],
    title: 'streams, channels and messages that nobody has a use for are ignored',
    tty: 'both',
    streams: ALL,
    command: 'echo ready; read -r line; echo done',
    client: async exec => {
      await exec.sendStray();
      await exec.receives('ready');
      await exec.send('go\n');
    },
    stdout: stdout => assert.match(stdout, /^ready\r?\n(go\r\n)?done\r?\n$/),
  },

  // The client goes
  {
    items: [27],
    title: 'a client that says goodbye ends its session at once',
    tty: 'both',
    streams: ALL,
    command: 'echo ready; cat',
    client: async exec => {
      await exec.receives('ready');
      exec.leave('goodbye');
    },
    endsAs: 'client_gone',
  },
  {
    items: [34],
    title: 'a client that resets in the middle of the output leaves nothing behind',
    tty: 'both',
    command: ['cat', '/dev/zero'],
    client: async exec => {
      await exec.receives(100_000);
      exec.leave('reset');
    },
    endsAs: 'client_gone',
  },
  {
    items: [3, 34],
    title:
      'where a client cannot end its input the command waits for more of it until the client goes, and then sees the end',
    where: noEndOfInput,
    streams: ALL,
    command: 'f=$(mktemp -u); mkfifo $f; echo "<$f>"; cat; echo ended >$f',
    client: async (exec, { container }) => {
      const fifo = fifoIn(await exec.receives('>'));
      await exec.send('one');
      await exec.receives('one');
      await exec.send('two');
      await exec.receives('two');
      exec.leave('reset');
      assert.equal((await container.exec(['cat', fifo])).stdout, 'ended\n');
    },
    endsAs: 'client_gone',
  },
];

/** A command that made a named pipe says so: `<PATH>`. Whoever opens its other end has met the command there. */
function fifoIn(stdout: Buffer): string {
  const [, path] = /<(\S+)>/.exec(stdout.toString()) ?? [];
  assert.ok(path !== undefined);
  return path;
}

function hash(text: string): string {
  return createHash('sha256').update(text, 'latin1').digest('hex');
}

/** A tar archive with one file, `data`. */
function archiveOf(content: Buffer): Buffer {
  const header = Buffer.alloc(512);
  const field = (at: number, text: string): number => header.write(text, at, 'latin1');
  field(0, 'data');
  field(100, '0000644\0');
  field(108, '0000000\0');
  field(116, '0000000\0');
  field(124, `${content.length.toString(8).padStart(11, '0')}\0`);
  field(136, '00000000000\0');
  field(148, '        '); // the checksum counts itself as spaces
  field(156, '0');
  field(257, 'ustar\x0000');
  const sum = header.reduce((total, byte) => total + byte, 0);
  field(148, `${sum.toString(8).padStart(6, '0')}\0 `);
  const padding = Buffer.alloc((512 - (content.length % 512)) % 512);
  return Buffer.concat([header, content, padding, Buffer.alloc(1024)]);
}

/** The content of the first file of an archive, which must be called `data`. */
function contentOf(archive: string): string {
  assert.match(archive, /^data\0/);
  return archive.slice(512, 512 + parseInt(archive.slice(124, 135), 8));
}
