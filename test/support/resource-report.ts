import { createHook } from 'node:async_hooks';
import { createServer } from 'node:net';

// Loaded into a daemon by `--import`, so that a test can ask from outside how many timers it has, and how much memory is in use when
// its garbage has been collected (with --expose-gc): whoever connects to the Unix socket at EXECLET_TEST_RESOURCE_REPORT is sent one
// line of JSON. The ordinary way, process.getActiveResourcesInfo(), leaves out the timers that do not keep a process alive, and they
// leak as well as any other.

const path = process.env.EXECLET_TEST_RESOURCE_REPORT;
if (path === undefined) throw new Error('EXECLET_TEST_RESOURCE_REPORT must name the socket to listen at');

const timers = new Set<number>();
createHook({
  init: (id, type) => {
    if (type === 'Timeout') timers.add(id);
  },
  destroy: id => void timers.delete(id),
  trackPromises: false, // they are many, and following them would change what is measured
}).enable();

createServer(socket => {
  socket.on('error', () => undefined);
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage(); // buffers are external
  // Closed on this side at once: until the other side is seen to close it would count as one of the daemon's.
  socket.end(`${JSON.stringify({ timers: timers.size, usedBytes: heapUsed + external })}\n`, () => socket.destroy());
})
  .listen(path)
  .unref();
