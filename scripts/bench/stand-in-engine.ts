import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { z } from 'zod';

// A process of its own that speaks the Engine's exec API and costs next to nothing, so that execlet's own cost shows.
// `node stand-in-engine.ts SOCKET CONTAINERS` says "ready" and stays until it is ended.

const CONTAINER = 'c'.repeat(64);
/** What dockerd writes at most in one frame. */
const FRAME_BYTES = 32 * 1024;
/** Written in one call. */
const BATCH_BYTES = 1024 * 1024;
/** More than Linux gives: no process of this host is taken for one of these. */
const FIRST_PID = 5_000_000;
const STDOUT = 1;
const STDERR = 2;
const HEAD_END = Buffer.from('\r\n\r\n');

/** Of exec create, as far as it is looked at. */
const createBody = z.object({ Cmd: z.array(z.string()), Tty: z.boolean() });

interface StandInExec {
  readonly command: readonly string[];
  readonly tty: boolean;
  exitCode: number | null;
  readonly pid: number;
}

const [socketPath = '', containers = '1'] = process.argv.slice(2);
const execs = new Map<string, StandInExec>();
const eventStreams = new Set<Socket>();
let created = 0;

const server = createServer(connection => serve(connection));
server.listen({ path: socketPath, backlog: 4096 });
await once(server, 'listening');
process.stdout.write('ready\n');

function serve(connection: Socket): void {
  let received: Buffer = Buffer.alloc(0);
  connection.on('error', () => undefined);
  const take = (chunk: Buffer): void => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    for (;;) {
      const headEnd = received.indexOf(HEAD_END);
      if (headEnd < 0) return;
      const head = received.toString('latin1', 0, headEnd);
      const bodyBytes = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
      const end = headEnd + HEAD_END.length + bodyBytes;
      if (received.length < end) return;
      const body = received.toString('utf8', headEnd + HEAD_END.length, end);
      const behind = received.subarray(end);
      received = Buffer.alloc(0);
      const [method = '', target = ''] = head.split(' ', 2);
      const path = target.replace(/^\/v[\d.]+/, '');
      const start = /^\/exec\/(\d+)\/start/.exec(path);
      if (method === 'POST' && start !== null) {
        connection.off('data', take);
        startExec(connection, start[1] ?? '');
        if (behind.length > 0) connection.unshift(behind);
        return;
      }
      answer(connection, path, body);
      received = behind;
      if (behind.length === 0) return;
    }
  };
  connection.on('data', take);
}

function answer(connection: Socket, path: string, body: string): void {
  if (/^\/containers\/[^/]+\/exec$/.test(path)) {
    const { Cmd, Tty } = createBody.parse(JSON.parse(body));
    created += 1;
    execs.set(String(created), { command: Cmd, tty: Tty, exitCode: null, pid: FIRST_PID + created });
    send(connection, { Id: String(created) }, '201 Created');
  } else if (path.startsWith('/exec/') && path.endsWith('/json')) {
    const exec = execs.get(path.split('/')[2] ?? '');
    send(connection, { Running: exec?.exitCode === null, ExitCode: exec?.exitCode ?? null, Pid: exec?.pid ?? 0 });
  } else if (path.endsWith('/top')) {
    const running = [...execs.values()].filter(({ exitCode }) => exitCode === null);
    send(connection, { Titles: ['PID'], Processes: running.map(({ pid }) => [String(pid)]) });
  } else if (path.startsWith('/events')) {
    connection.write('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n');
    eventStreams.add(connection);
    connection.on('close', () => eventStreams.delete(connection));
  } else if (path.startsWith('/version')) send(connection, { Version: 'stand-in', ApiVersion: '1.41' });
  else if (path.startsWith('/containers/json')) send(connection, Array.from({ length: Number(containers) }, container));
  else send(connection, {}); // ping, resize
}

function send(connection: Socket, value: unknown, status = '200 OK'): void {
  const body = JSON.stringify(value);
  connection.write(
    `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
}

function container(_: unknown, index: number): unknown {
  return {
    Id: index === 0 ? CONTAINER : String(index).padStart(64, '0'),
    Names: [`/app-${index}`],
    Image: 'stand-in',
    ImageID: 'sha256:0',
    Created: 1,
    State: 'running',
    Status: 'Up',
    Labels: {
      'io.kubernetes.pod.namespace': 'default',
      'io.kubernetes.pod.name': index === 0 ? 'web' : `web-${index}`,
      'io.kubernetes.container.name': 'app',
    },
  };
}

/** The commands that the benchmark runs, as scripts/bench/commands.ts has them. */
function startExec(connection: Socket, id: string): void {
  const exec = execs.get(id);
  if (exec === undefined) {
    connection.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n');
    return;
  }
  connection.write(
    'HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n',
  );
  const exit = (): void => {
    exec.exitCode = 0;
    connection.end();
    const Attributes = { execID: id, exitCode: '0' };
    const event = { Type: 'container', Action: 'exec_die', Actor: { ID: CONTAINER, Attributes } };
    for (const stream of eventStreams) stream.write(`${JSON.stringify(event)}\n`);
  };
  const line = exec.command.join(' ');
  const [, bs, count] = / bs=(\d+) (?:iflag=\w+ )?count=(\d+)/.exec(line) ?? [];
  const bytes = Number(bs) * Number(count);
  if (line === 'true') {
    connection.resume();
    exit();
  } else if (line.includes('if=/dev/zero')) {
    connection.resume();
    writeFrames(connection, { frameBytes: Math.min(FRAME_BYTES, Number(bs)), bytes }, exit);
  } else if (line.includes('of=/dev/null')) {
    let taken = 0;
    connection.on('data', chunk => {
      taken += chunk.length;
      if (taken < bytes) return;
      connection.write(frame(STDERR, Buffer.from(`${taken / Number(bs)}+0 records in\n`)));
      exit();
    });
  } else if (line.endsWith('cat')) {
    connection.on('data', chunk => connection.write(exec.tty ? chunk : frame(STDOUT, chunk)));
    connection.on('end', exit);
  } else {
    connection.resume(); // sleeps
    connection.on('end', exit);
  }
}

/** As fast as the reader takes them, from one buffer that holds many. */
function writeFrames(
  connection: Socket,
  { frameBytes, bytes }: { frameBytes: number; bytes: number },
  done: () => void,
): void {
  const one = frame(STDOUT, Buffer.alloc(frameBytes));
  const perBatch = Math.max(1, Math.floor(BATCH_BYTES / frameBytes));
  const batch = Buffer.concat(Array.from({ length: perBatch }, () => one));
  let framesLeft = Math.ceil(bytes / frameBytes);
  const more = (): void => {
    while (framesLeft > 0) {
      const frames = Math.min(framesLeft, perBatch);
      framesLeft -= frames;
      if (!connection.write(batch.subarray(0, frames * one.length))) {
        connection.once('drain', more);
        return;
      }
    }
    done();
  };
  more();
}

function frame(stream: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header[0] = stream;
  header.writeUInt32BE(payload.length, 4);
  return Buffer.concat([header, payload]);
}
