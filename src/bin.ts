#!/usr/bin/env node
// The packaged command. An old Node must be able to read this file and say that it is too old, so nothing is imported
// before that is known, and the syntax stays plain.
const OLDEST_NODE = 24;

if (Number(process.versions.node.split('.')[0]) < OLDEST_NODE) {
  process.stderr.write(`execlet: needs Node ${OLDEST_NODE} or newer, and this is ${process.version}\n`);
  process.exitCode = 2;
} else {
  // V8's room for young objects begins with 1 MiB and doubles, up to some 100 MiB, as soon as many sessions begin at the same time, and
  // never gets smaller again. Kept as it is, it is collected more often, and with it what was read from sockets, which lies outside
  // the heap: relaying then touches half of the memory. An option of Node's would have to be said wherever execlet is started.
  void import('node:v8').then(({ setFlagsFromString }) => {
    setFlagsFromString('--semi-space-growth-factor=1');
    return import('./main.ts');
  });
}
