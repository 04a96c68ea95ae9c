#!/usr/bin/env node
// The packaged command. An old Node must be able to read this file and say that it is too old, so nothing is imported
// before that is known, and the syntax stays plain.
const OLDEST_NODE = 24;

if (Number(process.versions.node.split('.')[0]) < OLDEST_NODE) {
  process.stderr.write(`execlet: needs Node ${OLDEST_NODE} or newer, and this is ${process.version}\n`);
  process.exitCode = 2;
} else {
  void import('./main.ts');
}
